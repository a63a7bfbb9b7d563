// frontend/src/hooks/useWebSocket.ts (Proposed)

import { useEffect, useRef, useState } from "react"
import { useQueryClient } from "@tanstack/react-query"
import { supabase } from "@/lib/supabase"

interface WebSocketMessage {
  type: string
  timestamp: string
  data: any
}

export function useWebSocket() {
  const [isConnected, setIsConnected] = useState(false)
  const wsRef = useRef<WebSocket | null>(null)
  const queryClient = useQueryClient()
  const reconnectTimeoutRef = useRef<NodeJS.Timeout>()

  useEffect(() => {
    const connect = async () => {
      // Get auth token
      const { data: { session } } = await supabase.auth.getSession()
      if (!session) return

      const wsUrl = `${getWebSocketUrl()}/ws/dashboard?token=${session.access_token}`
      const ws = new WebSocket(wsUrl)

      ws.onopen = () => {
        setIsConnected(true)
        console.log("WebSocket connected")
      }

      ws.onmessage = (event) => {
        const message: WebSocketMessage = JSON.parse(event.data)
        handleMessage(message)
      }

      ws.onerror = (error) => {
        console.error("WebSocket error:", error)
        setIsConnected(false)
      }

      ws.onclose = () => {
        setIsConnected(false)
        // Reconnect after 3 seconds
        reconnectTimeoutRef.current = setTimeout(connect, 3000)
      }

      wsRef.current = ws
    }

    const handleMessage = (message: WebSocketMessage) => {
      switch (message.type) {
        case "dashboard-stats-update":
          // Invalidate and refetch dashboard stats
          queryClient.invalidateQueries({ queryKey: ["dashboardStats"] })
          break

        case "execution-started":
        case "execution-completed":
        case "execution-failed":
          // Invalidate execution-related queries
          queryClient.invalidateQueries({ queryKey: ["workflowExecutions"] })
          queryClient.invalidateQueries({ queryKey: ["dashboardStats"] })
          break

        case "system-metrics-update":
          queryClient.invalidateQueries({ queryKey: ["systemMetrics"] })
          break

        case "cost-analytics-update":
          queryClient.invalidateQueries({ queryKey: ["costAnalytics"] })
          break

        case "pong":
          // Heartbeat response
          break

        default:
          console.log("Unknown message type:", message.type)
      }
    }

    connect()

    return () => {
      if (reconnectTimeoutRef.current) {
        clearTimeout(reconnectTimeoutRef.current)
      }
      if (wsRef.current) {
        wsRef.current.close()
      }
    }
  }, [])

  return { isConnected }
}
