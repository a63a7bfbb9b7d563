// A page with the application's own components and its own way to connect.
import type { PropsWithChildren } from "react"
import { createRoot } from "react-dom/client"

import "@/connect"
import { getWebSocketClient } from "@/lib/websocket"
import { ExecutionDetailPage } from "@/pages/ExecutionDetailPage"
import { ExecutionsListPage } from "@/pages/ExecutionsListPage"
import { MyComponent } from "@/pages/MyComponent"

const heard: unknown[] = []
getWebSocketClient().on("*", (message) => heard.push(message))
Object.assign(window, {
  heard,
  executionId: "exec_abc123",
  Badge: ({ children }: PropsWithChildren) => <b id="badge">{children}</b>,
  ExecutionCard: ({ execution }: { execution: { execution_id: string; status: string } }) => (
    <li>{`${execution.execution_id} ${execution.status}`}</li>
  ),
})

createRoot(document.getElementById("root")!).render(
  <>
    <section id="detail">
      <ExecutionDetailPage />
    </section>
    <section id="list">
      <ExecutionsListPage />
    </section>
    <MyComponent />
  </>,
)
