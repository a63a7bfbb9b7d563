"""Runs a Python client unchanged, sent to the gateway under test instead of localhost:8080."""

import os
import runpy
import sys

import websockets

connect = websockets.connect


def to_gateway(uri, **options):
    return connect(uri.replace("localhost:8080", os.environ["GATEWAY"]), **options)


websockets.connect = to_gateway
sys.stdout.reconfigure(line_buffering=True)
runpy.run_path(sys.argv[1], run_name="__main__")
