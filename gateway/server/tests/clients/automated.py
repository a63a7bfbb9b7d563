"""Runs an application's own test of its socket path unchanged: `fastapi`'s test client becomes one that speaks to the gateway under
test, with the token under test instead of `valid_token`. Usage: automated.py FILE
"""

import asyncio
import contextlib
import json
import os
import runpy
import sys
import types

from websockets.sync.client import connect


class TestClient:
    def __init__(self, _app):
        pass

    @contextlib.contextmanager
    def websocket_connect(self, path):
        url = f"ws://{os.environ['GATEWAY']}{path.replace('valid_token', os.environ['TOKEN'])}"
        with connect(url) as socket:
            yield types.SimpleNamespace(receive_json=lambda: json.loads(socket.recv(timeout=30)))


def module(name, **members):
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(members)


module("pytest")
module("fastapi", WebSocket=object)
module("fastapi.testclient", TestClient=TestClient)
tests = runpy.run_path(sys.argv[1], init_globals={"app": None})
for name, test in tests.items():
    if name.startswith("test_"):
        asyncio.run(test())
        print(f"{name}: ok", flush=True)
