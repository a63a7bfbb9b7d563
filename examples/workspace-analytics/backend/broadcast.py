from backend.src.api.websocket import broadcaster

# Broadcast execution started
await broadcaster.broadcast_execution_started(
    workspace_id="workspace-123",
    agent_id="agent-456",
    run_id="run-789",
    user_id="user-123"
)

# Broadcast execution completed
await broadcaster.broadcast_execution_completed(
    workspace_id="workspace-123",
    agent_id="agent-456",
    run_id="run-789",
    success=True,
    runtime_seconds=45.2,
    credits_consumed=0.15
)

# Broadcast metrics update
await broadcaster.broadcast_metrics_update(
    workspace_id="workspace-123",
    metrics={
        "total_executions": 1234,
        "active_agents": 5,
        "credits_consumed": 123.45
    }
)

# Broadcast alert
await broadcaster.broadcast_alert(
    workspace_id="workspace-123",
    alert_type="credit_limit",
    alert_data={
        "message": "Credit limit approaching",
        "priority": "high"
    }
)
