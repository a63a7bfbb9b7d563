#!/usr/bin/env python3
"""Publishes events the way the backend does, at the places that its plan names.

    publish.py execution USER     a workflow execution of the user begins
    publish.py stats USER         the user's figures changed
    publish.py metrics            figures of the system, for the administrators
    publish.py storm USER COUNT   COUNT changes of the user's figures as fast as they come, an execution's event between them
"""

import asyncio
import sys
from types import SimpleNamespace

from manager import manager


async def create_execution(user_id):
    workflow = SimpleNamespace(owner_id=user_id)
    execution = SimpleNamespace(id="exec-1", workflow_id="wf-1")
    # Broadcast event
    await manager.broadcast({
        "type": "execution-started",
        "user_id": str(workflow.owner_id),
        "data": {
            "execution_id": str(execution.id),
            "workflow_id": str(execution.workflow_id),
            "status": "running"
        }
    }, user_ids=[str(workflow.owner_id)])


async def stats_changed(user_id, total):
    # When stats change, broadcast update
    await manager.broadcast({
        "type": "dashboard-stats-update",
        "user_id": str(user_id),
        "data": {
            "executions": {"total": total},
            "agents": {"active": 3},
        }
    }, user_ids=[str(user_id)])


async def system_metrics():
    await manager.broadcast_to_admins({"type": "system-metrics-update", "data": {"cpu": 0.42}})


async def storm(user_id, count):
    for total in range(count):
        await stats_changed(user_id, total)
        if total == count // 2:
            await create_execution(user_id)
    print(f"{count} changes", flush=True)


match sys.argv[1:]:
    case ["execution", user]:
        asyncio.run(create_execution(user))
    case ["stats", user]:
        asyncio.run(stats_changed(user, 7))
    case ["metrics"]:
        asyncio.run(system_metrics())
    case ["storm", user, count]:
        asyncio.run(storm(user, int(count)))
    case _:
        sys.exit(__doc__)
