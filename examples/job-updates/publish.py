#!/usr/bin/env python3
"""Publishes job updates to Redis the way a worker does.

    publish.py                          interactive: one update per line, "STATUS [JOB_ID]"
    publish.py completed                one update
    publish.py processing job-123       one update of this job
    publish.py multi 5 1.0              a burst: 5 updates, 1.0 seconds between two
    publish.py multi 20 0.5             a longer one
    publish.py stress 10000             as fast as Redis takes them

Redis is the one of REDIS_URL, or redis://127.0.0.1:6379. Needs the package `redis`.
"""

import json
import os
import sys
import time
import uuid

import redis

CHANNEL = "botrix:jobs:updates"
STATUSES = ("processing", "completed", "failed")
PIPELINE = 500


def update(status, job_id, **details):
    """One message as a worker writes it."""
    data = {"job_id": job_id, "status": status, **details}
    return json.dumps({"event": "job_update", "job_id": job_id, "timestamp": int(time.time()), "data": data})


def details_of(status, step=0, steps=1):
    """What a worker would add to a status."""
    if status == "completed":
        return {"progress": 100, "result": {"accounts_created": 5, "success": True}}
    if status == "failed":
        return {"error": "the worker stopped", "result": {"success": False}}
    return {"progress": 100 * step // steps, "accounts_processed": step}


def publish_one(client, status, job_id):
    """Publishes one update and says who heard it."""
    heard = client.publish(CHANNEL, update(status, job_id, **details_of(status)))
    print(f"{job_id}: {status} (heard by {heard})", flush=True)


def publish_several(client, count, delay):
    """One job from its first step to its completion, `delay` seconds between two updates."""
    job_id = str(uuid.uuid4())
    for step in range(1, count + 1):
        status = "completed" if step == count else "processing"
        client.publish(CHANNEL, update(status, job_id, **details_of(status, step, count)))
        print(f"{step}/{count} {job_id}: {status}", flush=True)
        if step < count:
            time.sleep(delay)


def stress(client, count):
    """`count` numbered updates without a pause; `data.number` counts from 0."""
    job_id = str(uuid.uuid4())
    started = time.monotonic()
    for first in range(0, count, PIPELINE):
        with client.pipeline(transaction=False) as pipeline:
            for number in range(first, min(first + PIPELINE, count)):
                pipeline.publish(CHANNEL, update("processing", job_id, number=number))
            pipeline.execute()
    print(f"{count} updates of {job_id} in {time.monotonic() - started:.2f} s", flush=True)


def interactive(client):
    """One update per line until the end of input."""
    print(f"STATUS [JOB_ID], a status being one of: {', '.join(STATUSES)}; an empty line ends", flush=True)
    for line in sys.stdin:
        words = line.split()
        if not words:
            return
        if words[0] not in STATUSES:
            print(f"unknown status: {words[0]}", flush=True)
            continue
        publish_one(client, words[0], words[1] if len(words) > 1 else str(uuid.uuid4()))


def main(arguments):
    client = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"))
    match arguments:
        case []:
            interactive(client)
        case ["multi", count, delay]:
            publish_several(client, int(count), float(delay))
        case ["stress", count]:
            stress(client, int(count))
        case [status] if status in STATUSES:
            publish_one(client, status, str(uuid.uuid4()))
        case [status, job_id] if status in STATUSES:
            publish_one(client, status, job_id)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
