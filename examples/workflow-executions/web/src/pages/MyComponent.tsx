import { useWebSocketEvent } from '@/hooks/useWebSocket'

function MyComponent() {
  useWebSocketEvent('execution.failed', (message) => {
    const data = message.data
    console.log('Execution failed:', data.execution_id)
    // Show notification, update UI, etc.
  })

  return <div>...</div>
}
