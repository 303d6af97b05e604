"""All targets by name, and the corpus of inputs that found something or reach far."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs

from tests.fuzz import calls, files, frames, headers, http1, peers, requests, settings

CORPUS: Final = Path(__file__).with_name("corpus")


@attrs.frozen
class Target:
    """``run`` takes any bytes; ``measured`` are the files, as globs, whose branches it should reach."""

    run: Callable[[bytes], None]
    measured: tuple[str, ...]


TARGETS: Final = {
    "frames": Target(frames.target, ("rusd/http2/*.py",)),
    "headers": Target(headers.target, ("rusd/http2/hpack.py",)),
    "calls": Target(calls.target, ("rusd/grpc/[!p]*.py",)),
    "requests": Target(
        requests.target,
        ("rusd/services/*.py", "rusd/mvcc/*.py", "rusd/state/*.py", "rusd/lease/*.py", "rusd/watch/*.py"),
    ),
    "files": Target(files.target, ("rusd/storage/*.py", "rusd/mvcc/snapshot.py", "rusd/state/snapshot.py")),
    "settings": Target(settings.target, ("rusd/config/*.py", "rusd/durations.py")),
    "peers": Target(
        peers.target, ("rusd/peers/codec.py", "rusd/peers/identity.py", "rusd/peers/snapshots.py")
    ),
    "http1": Target(http1.target, ("rusd/net/http1.py", "rusd/net/sniff.py")),
}
"""The first four are the entry points of the protocols; the others eat bytes too."""


def load_corpus(name: str) -> list[bytes]:
    """The inputs kept for a target: one in a line, in hexadecimal."""
    path = CORPUS / f"{name}.hex"
    return [bytes.fromhex(line) for line in path.read_text().split()] if path.exists() else []


def save_corpus(name: str, inputs: list[bytes]) -> None:
    """Replace them, smallest first."""
    lines = [data.hex() for data in sorted(set(inputs), key=lambda data: (len(data), data)) if data]
    CORPUS.mkdir(exist_ok=True)
    (CORPUS / f"{name}.hex").write_text("".join(line + "\n" for line in lines))
