// The dashboard's page around its own component: what it fetches is counted, and what else a page has is there.
import { QueryClient, QueryClientProvider, useQuery } from "@tanstack/react-query"
import type { PropsWithChildren } from "react"
import { createRoot } from "react-dom/client"

import { DashboardStats } from "@/components/Dashboard/DashboardStats"

let fetched = 0
const box = ({ children }: PropsWithChildren) => <div className="alert">{children}</div>
Object.assign(window, {
  useQuery,
  fetchDashboardStats: async () => ({ fetched: ++fetched }),
  fetched: () => fetched,
  Alert: box,
  AlertDescription: box,
  getWebSocketUrl: () => "ws://localhost:8080",
})

createRoot(document.getElementById("root")!).render(
  <QueryClientProvider client={new QueryClient()}>
    <DashboardStats />
  </QueryClientProvider>,
)
