"""The application's broadcaster: what it told its own sockets, it publishes to Redis, and the gateway tells everyone's.

Redis is the one of REDIS_URL, or redis://127.0.0.1:6379. Needs the package `redis`.
"""

import json
import os
from datetime import datetime, timezone

import redis.asyncio


def now():
    return datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


class Broadcaster:
    """One method per kind of event; each publishes one message to `workspace:{workspace_id}`."""

    def __init__(self, url):
        self.redis = redis.asyncio.from_url(url)

    async def broadcast(self, workspace_id, event, data, **more):
        message = {"event": event, "data": data, "timestamp": now(), **more}
        await self.redis.publish(f"workspace:{workspace_id}", json.dumps(message))

    async def broadcast_execution_started(self, workspace_id, **data):
        await self.broadcast(workspace_id, "execution_started", {**data, "started_at": now()})

    async def broadcast_execution_completed(self, workspace_id, **data):
        await self.broadcast(workspace_id, "execution_completed", {**data, "completed_at": now()})

    async def broadcast_metrics_update(self, workspace_id, metrics):
        await self.broadcast(workspace_id, "metrics_update", metrics)

    async def broadcast_alert(self, workspace_id, alert_type, alert_data):
        more = {"priority": alert_data["priority"]} if "priority" in alert_data else {}
        await self.broadcast(workspace_id, "alert", {"type": alert_type, **alert_data}, **more)


broadcaster = Broadcaster(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"))
