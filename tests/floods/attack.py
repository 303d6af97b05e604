"""An attacker in a process of its own: ``python -m tests.floods.attack NAME PORT SECONDS``.

Goes on for as long as it is told, with a new connection each time the server ends one.  Prints how
often that was, and how many bytes it got rid of.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import sys
import time
from collections.abc import Callable

from etcdpb import rpc_pb2
from tests.floods.conftest import FRAMES, PUT, RANGE, WATCH, message, request, watch_create
from tests.floods.test_frames import ATTACKS

FRAMES_OF_A_CONNECTION = 4000
FRAMES_OF_A_SEND = 100
OPENED = FRAMES.preface + FRAMES.settings() + FRAMES.settings_ack()
CLOSED_WINDOW = FRAMES.preface + FRAMES.settings((4, 0)) + FRAMES.settings_ack()
WIDE_WINDOW = (
    FRAMES.preface
    + FRAMES.settings((4, 2**31 - 1))
    + FRAMES.settings_ack()
    + FRAMES.window_update(0, 2**31 - 65_536)
)


def answers_wanted(opening: bytes) -> list[bytes]:
    body = message(rpc_pb2.RangeRequest(key=b"large"))
    calls = (FRAMES.headers(n, request(RANGE)) + FRAMES.data(n, body, end=True) for n in range(1, 4001, 2))
    return [opening, *calls]


def requests_in_part() -> list[bytes]:
    body = message(rpc_pb2.PutRequest(key=b"k", value=bytes(1_500_000)))[:1_490_000]
    pieces = [body[start : start + 16_000] for start in range(0, len(body), 16_000)]
    return [
        OPENED,
        *(
            FRAMES.headers(n, request(PUT)) + b"".join(FRAMES.data(n, piece) for piece in pieces)
            for n in range(1, 1601, 2)
        ),
    ]


def watches(opening: bytes) -> list[bytes]:
    first = watch_create(b"key")
    return [
        opening,
        *(FRAMES.headers(n, request(WATCH)) + FRAMES.data(n, first) for n in range(1, 101, 2)),
    ]


HOARDERS: dict[str, Callable[[], list[bytes]]] = {
    "answers behind a closed window": lambda: answers_wanted(CLOSED_WINDOW),
    "answers left in the socket": lambda: answers_wanted(WIDE_WINDOW),
    "requests that never end": requests_in_part,
    "watches behind a closed window": lambda: watches(CLOSED_WINDOW),
    "watches left in the socket": lambda: watches(WIDE_WINDOW),
}


def script(name: str) -> list[bytes]:
    """What is sent on one connection, send by send."""
    if name in HOARDERS:
        return HOARDERS[name]()
    frames = itertools.islice(ATTACKS[name][0](), FRAMES_OF_A_CONNECTION)
    sends = [OPENED]
    while part := list(itertools.islice(frames, FRAMES_OF_A_SEND)):
        sends.append(b"".join(part))
    return sends


def main(name: str, port: int, seconds: float) -> None:
    """Attack for ``seconds``."""
    sends = script(name)
    print("ready", flush=True)
    sys.stdin.readline()
    end = time.monotonic() + seconds
    connections = sent = 0
    while time.monotonic() < end:
        with socket.create_connection(("127.0.0.1", port)) as sock, contextlib.suppress(OSError):
            connections += 1
            sock.settimeout(1.0)
            for part in sends:
                sock.sendall(part)
                sent += len(part)
                if time.monotonic() > end:
                    break
            sock.settimeout(max(0.0, end - time.monotonic()))
            if name not in HOARDERS:
                while sock.recv(65_536):
                    pass
            else:
                time.sleep(max(0.0, end - time.monotonic()))
    print(json.dumps({"connections": connections, "bytes": sent}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
