import { useExecutionUpdates } from '@/hooks/useWebSocket'

function ExecutionDetailPage() {
  const { execution, isLive } = useExecutionUpdates(executionId)

  return (
    <div>
      {isLive && <Badge>Live</Badge>}
      <div>Status: {execution?.status}</div>
    </div>
  )
}
