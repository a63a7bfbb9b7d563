// A page around the application's component, and a second one that asks for some events by the same hook.
import { useEffect } from "react"
import { createRoot } from "react-dom/client"

import { MyComponent } from "@/components/MyComponent"
import { useWebSocket } from "@/hooks/useWebSocket"

const heard: unknown[] = []
Object.assign(window, { heard })

function Alerts() {
  const { connectionStatus, subscribe } = useWebSocket({
    workspaceId: "workspace-123",
    onMessage: (event) => heard.push(JSON.parse(event.data)),
  })
  useEffect(() => {
    if (connectionStatus === "connected") subscribe(["alert"])
  }, [connectionStatus])
  return <p id="alerts">{connectionStatus}</p>
}

createRoot(document.getElementById("root")!).render(
  <>
    <MyComponent />
    <Alerts />
  </>,
)
