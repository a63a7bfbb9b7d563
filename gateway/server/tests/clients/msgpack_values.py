"""Publishes values of every kind, as MessagePack and as JSON, and checks that both kinds of subscribers hear each of them
as it was: kinds of numbers, order of members and all. Usage: msgpack_values.py URL SEED COUNT
"""

import json
import random
import sys
from contextlib import ExitStack

import msgpack
from websockets.sync.client import connect

CHANNEL = "c:values"


class Packed:
    """A client of rtgw.msgpack.v1."""

    def __init__(self, url, stack):
        self.socket = stack.enter_context(connect(url, subprotocols=["rtgw.msgpack.v1"], max_size=None))
        assert self.socket.subprotocol == "rtgw.msgpack.v1"

    def send(self, value):
        self.socket.send(msgpack.packb(value))

    def hear(self):
        frame = self.socket.recv(timeout=30)
        assert isinstance(frame, bytes), frame
        return msgpack.unpackb(frame)


class Text:
    """A client of rtgw.json.v1."""

    def __init__(self, url, stack):
        self.socket = stack.enter_context(connect(url, subprotocols=["rtgw.json.v1"], max_size=None))

    def send(self, value):
        self.socket.send(json.dumps(value))

    def hear(self):
        return json.loads(self.socket.recv(timeout=30))


def value(chance, depth=0):
    kind = chance.randrange(9 if depth < 5 else 7)
    if kind == 0:
        return chance.choice([None, True, False, "", 0, -1, 1.0, -0.0, 5e-324, 1.7976931348623157e308])
    if kind == 1:
        return chance.randint(-(2 ** chance.randint(1, 63)), 2 ** chance.randint(1, 63))
    if kind == 2:
        return chance.choice([2**64 - 1, 2**63, -(2**63), 2**53 + 1, 127, 128, 255, 256, 65535, 65536, -32, -33])
    if kind == 3:
        return chance.uniform(-1, 1) * 10.0 ** chance.randint(-300, 300)
    if kind < 7:
        letters = chance.choice(["abc", 'é€😀\x00"\\/\n\u2028', "x"])
        return "".join(chance.choice(letters) for _ in range(chance.choice([0, 3, 31, 32, 255, 256, 300])))
    length = chance.choice([0, 1, 3, 15, 16, 17])
    if kind == 7:
        return [value(chance, depth + 1) for _ in range(length)]
    return {f"{chance.choice('zyxab')}{number}": value(chance, depth + 1) for number in range(length)}


def publication(client):
    while True:
        heard = client.hear()
        assert heard["type"] in ("e", "published"), heard
        if heard["type"] == "e":
            return heard["data"]


def small(chance):
    """A value that fits a message."""
    while True:
        found = value(chance)
        if len(json.dumps(found)) < 60_000:
            return found


def main(url, seed, count, stack):
    chance = random.Random(seed)
    listeners = {"msgpack": Packed(url, stack), "json": Text(url, stack)}
    for client in listeners.values():
        client.send({"type": "subscribe", "id": "é", "data": {"channel": CHANNEL}})
        answer = client.hear()
        assert (answer["type"], answer["id"]) == ("subscribed", "é"), answer
    publishers = [Packed(url, stack), Text(url, stack)]
    for number in range(count):
        published = small(chance)
        command = {"channel": CHANNEL, "event": "e", "data": published}
        publishers[number % 2].send({"type": "publish", "id": number, "data": command})
        answer = publishers[number % 2].hear()
        assert (answer["type"], answer["id"]) == ("published", number), answer
        for name, client in listeners.items():
            heard = publication(client)
            # What is written out shows more than equality: 1 and 1.0, 0.0 and -0.0, and the order of members.
            assert repr(heard) == repr(published), f"{number}: {name} heard {heard!r}, published was {published!r}"
    print(f"{count} values")


with ExitStack() as stack:
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), stack)
