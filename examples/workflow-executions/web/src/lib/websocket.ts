export interface Message {
  type: string
  timestamp: string
  id?: string
  data?: any
}

export interface Filters {
  workflow_ids?: string[]
  execution_ids?: string[]
  statuses?: string[]
}

interface Options {
  url?: string
  getToken: () => string | null
  /** Milliseconds before the first try to come back; each further try waits once more, up to five times as long. */
  reconnectInterval?: number
  maxReconnectAttempts?: number
}

type Handler = (message: Message) => void

/** One connection for a page: handlers by type of message, subscriptions that outlive a lost connection. */
export class WebSocketClient {
  private socket: WebSocket | null = null
  private attempts = 0
  private closed = false
  private handlers = new Map<string, Set<Handler>>()
  private subscriptions = new Map<string, Filters | undefined>()

  constructor(private options: Options) {}

  connect() {
    if (this.socket) return
    this.closed = false
    const base = this.options.url ?? import.meta.env.VITE_WS_URL ?? `ws://${location.host}`
    const socket = new WebSocket(`${base}/ws?token=${this.options.getToken() ?? ""}`)
    this.socket = socket
    socket.onopen = () => {
      this.attempts = 0
      this.subscriptions.forEach((filters, channel) => this.ask(channel, filters))
    }
    socket.onmessage = (event) => {
      const message: Message = JSON.parse(event.data)
      for (const type of [message.type, "*"]) this.handlers.get(type)?.forEach((handler) => handler(message))
    }
    socket.onclose = () => {
      this.socket = null
      if (this.closed || this.attempts === (this.options.maxReconnectAttempts ?? 10)) return
      this.attempts += 1
      setTimeout(() => this.connect(), (this.options.reconnectInterval ?? 3000) * Math.min(this.attempts, 5))
    }
  }

  disconnect() {
    this.closed = true
    this.socket?.close()
  }

  subscribe(channel: string, filters?: Filters) {
    this.subscriptions.set(channel, filters)
    this.ask(channel, filters)
  }

  unsubscribe(channel: string) {
    this.subscriptions.delete(channel)
    this.send("unsubscribe", { channel })
  }

  /** Calls `handler` for messages of a type (`*`: all); returns how to stop that. */
  on(type: string, handler: Handler) {
    if (!this.handlers.has(type)) this.handlers.set(type, new Set())
    this.handlers.get(type)!.add(handler)
    return () => void this.handlers.get(type)!.delete(handler)
  }

  private ask(channel: string, filters?: Filters) {
    this.send("subscribe", { channel, filters })
  }

  private send(type: string, data: unknown) {
    if (this.socket?.readyState !== WebSocket.OPEN) return
    this.socket.send(JSON.stringify({ type, timestamp: new Date().toISOString(), data }))
  }
}

let client: WebSocketClient | undefined

/** The page's client; `options` count for the first call. */
export function getWebSocketClient(options?: Options): WebSocketClient {
  client ??= new WebSocketClient(options ?? { getToken: () => localStorage.getItem("auth_token") })
  return client
}
