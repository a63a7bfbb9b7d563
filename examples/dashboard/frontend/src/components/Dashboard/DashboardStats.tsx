// frontend/src/components/Dashboard/DashboardStats.tsx

import { useWebSocket } from "@/hooks/useWebSocket"

export function DashboardStats() {
  // Establish WebSocket connection
  const { isConnected } = useWebSocket()

  // Remove refetchInterval - updates come via WebSocket
  const { data: stats, isLoading } = useQuery({
    queryKey: ["dashboardStats"],
    queryFn: fetchDashboardStats,
    // refetchInterval: 30000, // REMOVED - WebSocket handles updates
  })

  // Show connection status indicator
  return (
    <div className="space-y-6">
      {!isConnected && (
        <Alert>
          <AlertDescription>
            Real-time updates disconnected. Using polling fallback.
          </AlertDescription>
        </Alert>
      )}
      {/* ... rest of component */}
    </div>
  )
}
