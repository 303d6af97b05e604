"""Who opened a connection to a member's peer port.

Every member has one address that all others use, so the proxy has to tell them apart.  etcd says so itself,
in the ``X-Server-From`` header of its Raft requests, over HTTP/1.1 as well as HTTP/2; a few of its requests
say nothing (the first look at a cluster, lease renewals handed to the leader).  For those, and for TLS,
Linux knows which process holds the other end of a loopback connection.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

import attrs
import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_BYTES = 16 * 1024
_HEADERS_FRAME = 1
_CONTINUATION_FRAME = 9
_PADDED, _PRIORITY, _END_HEADERS = 0x8, 0x20, 0x4
_HTTP1 = re.compile(rb"(?im)^x-server-from:[ \t]*([0-9a-f]+)[ \t]*\r?$")


@attrs.frozen
class Head:
    """What the first bytes of a connection tell: ``complete`` when more would tell no more."""

    complete: bool
    sender: str = ""


def read_head(data: bytes) -> Head:
    """Look for the sender's member id, in hexadecimal, in the first bytes of a connection."""
    if PREFACE.startswith(data[: len(PREFACE)]) and len(data) < len(PREFACE):
        return Head(complete=False)
    if data.startswith(PREFACE):
        return _read_http2(data[len(PREFACE) :])
    end = data.find(b"\r\n\r\n")
    if end < 0:
        plain = data[:1].isalpha()
        return Head(complete=not plain or len(data) >= HEAD_BYTES)
    found = _HTTP1.search(data[: end + 2])
    return Head(complete=True, sender=found[1].decode().lower() if found else "")


def _read_http2(data: bytes) -> Head:
    """The first request's header block; RFC 9113 section 4.1 has the frame, 6.2 the padding."""
    block = b""
    while len(data) >= 9:
        length = int.from_bytes(data[:3], "big")
        kind, flags = data[3], data[4]
        if len(data) < 9 + length:
            return Head(complete=len(data) >= HEAD_BYTES)
        payload, data = data[9 : 9 + length], data[9 + length :]
        if kind == _HEADERS_FRAME:
            block = _fragment(payload, flags)
        elif kind == _CONTINUATION_FRAME:
            block += payload
        else:
            continue
        if flags & _END_HEADERS:
            return Head(complete=True, sender=_field(block))
    return Head(complete=False)


def _fragment(payload: bytes, flags: int) -> bytes:
    if flags & _PADDED and payload:
        payload = payload[1 : len(payload) - payload[0]]
    return payload[5:] if flags & _PRIORITY else payload


def _field(block: bytes) -> str:
    try:
        headers = hpack.Decoder().decode(block, raw=True)
    except hpack.HPACKError:
        return ""
    for name, value in headers:
        if name == b"x-server-from":
            return bytes(value).decode("ascii", "replace").lower()
    return ""


# -- by process ------------------------------------------------------------------


def owner_of_port(port: int, pids: Mapping[int, int], tables: Iterable[str] | None = None) -> int | None:
    """Which of ``pids`` (member -> process) holds the socket bound to the local ``port``; Linux only."""
    inode = _inode(port, tables or ("/proc/net/tcp", "/proc/net/tcp6"))
    if inode is None:
        return None
    wanted = f"socket:[{inode}]"
    for member, pid in pids.items():
        if _holds(pid, wanted):
            return member
    return None


def _inode(port: int, tables: Iterable[str]) -> str | None:
    suffix = f":{port:04X}"
    for table in tables:
        try:
            with open(table) as lines:
                for line in lines:
                    fields = line.split()
                    if fields[1].endswith(suffix) and fields[9] != "0":
                        return fields[9]
        except OSError:
            continue
    return None


def _holds(pid: int, wanted: str) -> bool:
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    for name in names:
        try:
            if os.readlink(f"{folder}/{name}") == wanted:
                return True
        except OSError:
            continue
    return False
