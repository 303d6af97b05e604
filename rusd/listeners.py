"""Binding the addresses a server listens at.

All are bound before anything else happens, so that a port that is taken leaves
no trace on disk, and so that port 0 is known by its real number when ids and
advertised URLs are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from rusd.config import Config, with_ports
from rusd.environment import Environment, Listener, descriptor_limit

if TYPE_CHECKING:
    from rusd.config import Url
    from rusd.logs import Logger


class StartError(Exception):
    """The server could not start.  The text is one line that says why."""


@attrs.frozen
class Listeners:
    """What is bound, and the configuration with the real ports in it."""

    config: Config
    client: Sequence[Listener]
    peer: Sequence[Listener]

    def close(self) -> None:
        for listener in (*self.client, *self.peer):
            listener.close()


RESERVED_DESCRIPTORS = 150
"""Files and sockets that are not clients'; etcd's figure."""


def connection_limit() -> int | None:
    """How many connections a client listener may have; raises :class:`StartError` if that is none."""
    limit = descriptor_limit()
    if limit is None:
        return None
    if limit <= RESERVED_DESCRIPTORS:
        raise StartError(
            f"file descriptor limit of etcd process is too low; please set higher ({limit}, at least "
            f"{RESERVED_DESCRIPTORS} are needed)"
        )
    return limit - RESERVED_DESCRIPTORS


async def bind(config: Config, environment: Environment, log: Logger) -> Listeners:
    """Bind all addresses first: a port that is taken must leave no trace on disk."""
    connection_limit()
    bound: dict[str, list[Listener]] = {"peer": [], "client": []}
    try:
        for kind, urls in (("peer", config.listen_peer_urls), ("client", config.listen_client_urls)):
            log.info(f"configuring {kind} listeners", **{f"listen_{kind}_urls": [str(url) for url in urls]})
            for url in urls:
                bound[kind].append(await _listen(url, environment))
    except BaseException:
        Listeners(config, bound["client"], bound["peer"]).close()
        raise
    config = with_ports(
        config,
        client_ports=[listener.address[1] for listener in bound["client"]],
        peer_ports=[listener.address[1] for listener in bound["peer"]],
    )
    return Listeners(config, bound["client"], bound["peer"])


async def _listen(url: Url, environment: Environment) -> Listener:
    try:
        return await environment.transport.listen(url.host, url.port)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StartError(f"listen tcp {url.authority}: bind: {reason}") from error
