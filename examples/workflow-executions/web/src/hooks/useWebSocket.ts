import { useEffect, useState } from "react"

import { type Filters, getWebSocketClient, type Message } from "@/lib/websocket"

interface Execution {
  execution_id: string
  status: string
  [more: string]: unknown
}

/** The page's connection, made when the first component asks for it. */
export function useWebSocket() {
  const client = getWebSocketClient()
  useEffect(() => client.connect(), [client])
  return client
}

/** Hears a channel as long as the component is there. */
export function useWebSocketSubscription(channel: string, filters?: Filters) {
  const client = useWebSocket()
  const [isSubscribed, setSubscribed] = useState(false)
  const asked = JSON.stringify(filters)
  useEffect(() => {
    const ours = (message: Message) => message.data?.channel === channel
    const stop = [
      client.on("subscribed", (message) => ours(message) && setSubscribed(true)),
      client.on("unsubscribed", (message) => ours(message) && setSubscribed(false)),
    ]
    client.subscribe(channel, filters)
    return () => {
      stop.forEach((end) => end())
      client.unsubscribe(channel)
    }
  }, [client, channel, asked])
  return isSubscribed
}

/** Calls `handler` for every message of a type (`*`: all). */
export function useWebSocketEvent(type: string, handler: (message: Message) => void) {
  const client = useWebSocket()
  useEffect(() => client.on(type, handler), [client, type, handler])
}

function useExecutions(channel: string) {
  const isLive = useWebSocketSubscription(channel)
  const [executions, setExecutions] = useState<Execution[]>([])
  useWebSocketEvent("*", (message) => {
    if (!message.type.startsWith("execution.")) return
    setExecutions((known) => [...known.filter((one) => one.execution_id !== message.data.execution_id), message.data])
  })
  return { executions, isLive }
}

/** One execution as it is now. */
export function useExecutionUpdates(executionId: string) {
  const { executions, isLive } = useExecutions(`executions:${executionId}`)
  return { execution: executions.find((one) => one.execution_id === executionId), isLive }
}

/** The executions of a workflow that were heard of. */
export function useWorkflowExecutions(workflowId: string): Execution[] {
  return useExecutions(`workflows:${workflowId}`).executions
}

/** All executions that were heard of. */
export function useAllExecutions(): Execution[] {
  return useExecutions("executions").executions
}
