"""Takes the place of the backend's ConnectionManager: `broadcast` means the same, and reaches the users of every server.

Redis is the one of REDIS_URL, or redis://127.0.0.1:6379. Needs the package `redis`.
"""

import json
import os

import redis.asyncio


class ConnectionManager:
    """Publishes what it is to tell: to a user's channel, the administrators' or everyone's."""

    def __init__(self, url):
        self.redis = redis.asyncio.from_url(url)

    async def send_personal_message(self, message: dict, user_id: str):
        """Send message to specific user"""
        await self.redis.publish(f"dashboard:user:{user_id}", json.dumps(message))

    async def broadcast(self, message: dict, user_ids: list[str] | None = None):
        """Broadcast to specific users or all users"""
        if user_ids is None:
            await self.redis.publish("dashboard:all", json.dumps(message))
        for user_id in user_ids or []:
            await self.send_personal_message(message, user_id)

    async def broadcast_to_admins(self, message: dict):
        """To whoever has the role, wherever they are: nobody has to be listed."""
        await self.redis.publish("dashboard:admins", json.dumps(message))


manager = ConnectionManager(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"))
