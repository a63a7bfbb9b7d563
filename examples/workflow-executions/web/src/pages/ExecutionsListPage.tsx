import { useAllExecutions } from '@/hooks/useWebSocket'

function ExecutionsListPage() {
  const liveExecutions = useAllExecutions()

  return (
    <div>
      {liveExecutions.map(exec => (
        <ExecutionCard key={exec.execution_id} execution={exec} />
      ))}
    </div>
  )
}
