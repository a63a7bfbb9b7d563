import pytest
import asyncio
from fastapi.testclient import TestClient
from fastapi import WebSocket

async def test_websocket_connection():
    client = TestClient(app)
    with client.websocket_connect("/ws?token=valid_token") as websocket:
        data = websocket.receive_json()
        assert data["event"] == "connected"
