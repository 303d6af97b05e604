"""Questions to a peer port over HTTP: who belongs to the cluster, and which version answers.

Asked by a member that joins, which knows addresses and nothing else, and by the leader of members that
may be older.  The answers are etcd's, so a cluster's members are found whatever serves them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import h11
import trio

from rusd.environment import Channel, Environment, join_address
from rusd.peers.address import address_of
from rusd.replica.peers import PeerError
from rusd.state.members import Member
from rusd.timeouts import finish_by

REQUEST_SECONDS = 10.0
"""For one URL; etcd's figure."""

_HEX_ID = re.compile(rb"[0-9a-fA-F]{1,16}")
_NO_ID = 2**64
_MOST_BYTES = 4 * 1024 * 1024
_RECEIVE_BYTES = 64 * 1024


async def fetch_members(
    environment: Environment, urls: Iterable[str], *, timeout: float = REQUEST_SECONDS
) -> tuple[int, list[Member]]:
    """The cluster's id and its members, as the first of ``urls`` tells that answers.

    ``timeout`` is in seconds, for each.  Raises :class:`PeerError` in etcd's words if none does.
    """
    failures: list[str] = []
    for url in urls:
        try:
            headers, body = await get(environment, url, "/members", timeout=timeout)
            return parse_cluster(headers, body)
        except PeerError as error:
            failures.append(f"{url}: {error}")
    reasons = f" ({'; '.join(failures)})" if failures else ""
    raise PeerError(f"could not retrieve cluster information from the given URLs{reasons}")


async def fetch_version(
    environment: Environment, url: str, *, timeout: float = REQUEST_SECONDS
) -> tuple[str, str]:
    """The server's version and the cluster's, as in ``("3.6.14", "3.6.0")``.  Raises :class:`PeerError`."""
    _, body = await get(environment, url, "/version", timeout=timeout)
    versions = _parse(body)
    if not isinstance(versions, dict):
        raise PeerError("an answer that tells no version")
    server, cluster = versions.get("etcdserver"), versions.get("etcdcluster")
    if not isinstance(server, str) or not isinstance(cluster, str):
        raise PeerError("an answer that tells no version")
    return server, cluster


async def fetch_downgrade_enabled(
    environment: Environment, url: str, *, timeout: float = REQUEST_SECONDS
) -> bool:
    """Whether the cluster is on its way to an older version.  Raises :class:`PeerError`."""
    _, body = await get(environment, url, "/downgrade/enabled", timeout=timeout)
    if body not in (b"true", b"false"):
        raise PeerError("an answer that is neither true nor false")
    return body == b"true"


async def get(
    environment: Environment, url: str, path: str, *, timeout: float = REQUEST_SECONDS
) -> tuple[dict[bytes, bytes], bytes]:
    """Headers, names in lower case, and body of what ``url`` answers with status 200.

    Raises :class:`PeerError`.
    """
    host, port = address_of(url)
    deadline = environment.clock.monotonic() + timeout
    try:
        return await finish_by(environment.clock, deadline, lambda: _ask(environment, host, port, path))
    except trio.TooSlowError:
        raise PeerError(f"no answer in {timeout:g} s") from None
    except (OSError, trio.ClosedResourceError, h11.ProtocolError) as error:
        raise PeerError(str(error)) from error


async def _ask(environment: Environment, host: str, port: int, path: str) -> tuple[dict[bytes, bytes], bytes]:
    channel = await environment.transport.connect(host, port)
    try:
        return await _exchange(channel, join_address(host, port), path)
    finally:
        channel.close()


async def _exchange(channel: Channel, authority: str, path: str) -> tuple[dict[bytes, bytes], bytes]:
    connection = h11.Connection(h11.CLIENT)
    request = h11.Request(method="GET", target=path, headers=[("Host", authority), ("Connection", "close")])
    data = connection.send(request) or b""
    data += connection.send(h11.EndOfMessage()) or b""
    while data:
        data = data[channel.try_send(data) :]
        if data:
            await channel.wait_writable()
    headers: dict[bytes, bytes] = {}
    body = bytearray()
    while not isinstance(event := await _next_event(connection, channel), h11.EndOfMessage):
        if isinstance(event, h11.Response):
            if event.status_code != 200:
                raise PeerError(f"unexpected http status {event.status_code}")
            headers = dict(event.headers)
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > _MOST_BYTES:
                raise PeerError("an answer that is too large")
    return headers, bytes(body)


async def _next_event(connection: h11.Connection, channel: Channel) -> h11.Event:
    while True:
        event = connection.next_event()
        if isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
            raise PeerError("the peer closed the connection before it had answered")
        if isinstance(event, h11.Event):
            return event
        await channel.wait_readable()
        data = channel.try_receive(_RECEIVE_BYTES)
        if data is not None:
            connection.receive_data(data)


def parse_cluster(headers: dict[bytes, bytes], body: bytes) -> tuple[int, list[Member]]:
    """The cluster's id and its members in an answer to ``/members``.  Raises :class:`PeerError`."""
    cluster_id = headers.get(b"x-etcd-cluster-id", b"")
    if not _HEX_ID.fullmatch(cluster_id):
        raise PeerError("an answer that names no cluster")
    listed = _parse(body)
    if not isinstance(listed, list) or not listed:
        raise PeerError("failed to get raft cluster member(s) from the given URLs")
    return int(cluster_id, 16), [_member(entry) for entry in listed]


def _member(entry: Any) -> Member:
    number = entry.get("id") if isinstance(entry, dict) else None
    if type(number) is not int or not 0 < number < _NO_ID:
        raise PeerError("an answer that lists what is no member")
    return Member(
        id=number,
        peer_urls=_texts(entry.get("peerURLs")),
        name=_text(entry.get("name") or ""),
        client_urls=_texts(entry.get("clientURLs")),
        is_learner=entry.get("isLearner") is True,
    )


def _texts(value: Any) -> tuple[str, ...]:
    """A list of strings; Go writes an empty one as null."""
    if not isinstance(value, list | None):
        raise PeerError("an answer that lists what is no member")
    return tuple(map(_text, value or ()))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise PeerError("an answer that lists what is no member")
    return value.encode(errors="replace").decode()  # half a surrogate pair can't be written anywhere


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise PeerError(f"an answer that is no JSON: {error}") from error
