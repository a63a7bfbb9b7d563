import { useCallback, useEffect, useRef, useState } from "react"

const url = process.env.NEXT_PUBLIC_WS_URL

interface Options {
  workspaceId: string
  autoReconnect?: boolean
  maxReconnectAttempts?: number
  onMessage?: (event: MessageEvent) => void
}

/** One connection to a workspace: comes back with a growing delay, and asks again for the events that it was asked for. */
export function useWebSocket(options: Options) {
  const { workspaceId, autoReconnect = true, maxReconnectAttempts = 5 } = options
  const [connectionStatus, setConnectionStatus] = useState("connecting")
  const socket = useRef<WebSocket | null>(null)
  const wanted = useRef(new Set<string>())
  const onMessage = useRef(options.onMessage)
  onMessage.current = options.onMessage

  const sendMessage = useCallback((message: unknown) => {
    if (socket.current?.readyState === WebSocket.OPEN) socket.current.send(JSON.stringify(message))
  }, [])

  const subscribe = useCallback((eventTypes: string[]) => {
    eventTypes.forEach((type) => wanted.current.add(type))
    sendMessage({ type: "subscribe", event_types: eventTypes })
  }, [])

  const unsubscribe = useCallback((eventTypes: string[]) => {
    eventTypes.forEach((type) => wanted.current.delete(type))
    sendMessage({ type: "unsubscribe", event_types: eventTypes })
  }, [])

  useEffect(() => {
    let attempts = 0
    let timer: ReturnType<typeof setTimeout> | undefined
    let ended = false

    const connect = () => {
      const token = localStorage.getItem("token") ?? ""
      const ws = new WebSocket(`${url}?token=${token}&workspace_id=${workspaceId}`)
      socket.current = ws
      ws.onopen = () => {
        attempts = 0
        setConnectionStatus("connected")
        if (wanted.current.size > 0) sendMessage({ type: "subscribe", event_types: [...wanted.current] })
      }
      ws.onmessage = (event) => onMessage.current?.(event)
      ws.onclose = () => {
        setConnectionStatus("disconnected")
        if (ended || !autoReconnect || attempts === maxReconnectAttempts) return
        timer = setTimeout(connect, 250 * 2 ** attempts)
        attempts += 1
      }
    }

    connect()
    return () => {
      ended = true
      clearTimeout(timer)
      socket.current?.close()
    }
  }, [workspaceId])

  return { connectionStatus, sendMessage, subscribe, unsubscribe }
}
