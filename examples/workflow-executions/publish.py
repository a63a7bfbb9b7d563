#!/usr/bin/env python3
"""Publishes an event the way the engine does.

    publish.py execution.started exec_abc123 running                 an event of an execution
    publish.py execution.started exec_abc123 running --workflow W    of a workflow's execution
    publish.py approval.required exec_abc123 pending --channel approvals

Redis is the one of REDIS_URL, or redis://127.0.0.1:6379. Needs the package `redis`.
"""

import argparse
import json
import os

import redis

CHANNEL = "ws:broadcast:all"


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("type")
    parser.add_argument("execution_id")
    parser.add_argument("status")
    parser.add_argument("--workflow", default="wf_1")
    parser.add_argument("--channel", default="executions")
    given = parser.parse_args()
    filters = {"workflow_id": given.workflow, "execution_id": given.execution_id, "status": given.status}
    message = {"channel": given.channel, "type": given.type, "data": filters, "filters": filters}
    client = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"))
    print(f"{given.type} of {given.execution_id} (heard by {client.publish(CHANNEL, json.dumps(message))})")


main()
