import { getWebSocketClient } from '@/lib/websocket'

const ws = getWebSocketClient({
  getToken: () => localStorage.getItem('auth_token')
})

ws.connect()
