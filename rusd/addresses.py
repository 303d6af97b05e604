"""Whether URLs mean the same addresses, though one names a host and the other its IP address.

A member that is new compares what it is told of the cluster with what the cluster says of
itself, or with what it advertises.  Equal texts are equal; else hosts are looked up, again and
again for a while: where members and the names for them are started together, the names may come last.
As in etcd ``localhost`` is no name that is looked up, so it is equal to itself alone.

Rules, times and words are etcd's (``pkg/netutil/netutil.go``, release 3.6).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import attrs

from rusd.config import Url, parse_url

if TYPE_CHECKING:
    from rusd.environment import Clock, Resolver
    from rusd.logs import Logger

PATIENCE_SECONDS = 30.0
RETRY_SECONDS = 1.0
"""How long, and how often, a host is looked up that is not found."""


class _UnknownError(Exception):
    """A URL can't be resolved; the text says which, and why."""


class Addresses:
    """Compares for one start: ``PATIENCE_SECONDS`` are for all of it; what was found is remembered."""

    def __init__(self, resolver: Resolver, clock: Clock, log: Logger) -> None:
        self._resolver = resolver
        self._clock = clock
        self._log = log
        self._deadline: float | None = None  # counts from the first look-up
        self._known: dict[str, str] = {}

    async def difference(self, one: Iterable[str], other: Iterable[str]) -> str:
        """In what two lists of URLs differ, in etcd's words; empty if they mean the same."""
        first, second = sorted(one), sorted(other)
        if len(first) != len(second):
            return f"len({_quoted(first)}) != len({_quoted(second)})"
        if first == second:
            return ""
        try:
            first, second = await self._resolved(first), await self._resolved(second)
        except _UnknownError as error:
            return str(error)
        for mine, yours in zip(first, second, strict=True):
            if mine != yours:
                return f'resolved urls: "{mine}" != "{yours}"'
        return ""

    async def _resolved(self, urls: Sequence[str]) -> list[str]:
        return sorted([await self._resolve(url) for url in urls])

    async def _resolve(self, text: str) -> str:
        try:
            url = parse_url(text)
        except ValueError as error:  # of a member that was moved to nonsense, which nobody checks
            raise _UnknownError(f'failed to resolve "{text}" ({error})') from None
        if url.is_unix or url.host == "localhost":
            return text
        if url.host not in self._known:
            self._known[url.host] = await self._look_up(url)
        address = attrs.evolve(url, host=self._known[url.host])
        return str(address)

    async def _look_up(self, url: Url) -> str:
        fields = {"url": str(url), "host": url.authority}
        if self._deadline is None:
            self._deadline = self._clock.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                address = await self._resolver.address(url.host)
            except OSError as error:
                problem = (error.strerror or str(error)).lower()
            else:
                found = str(attrs.evolve(url, host=address)).partition("://")[2]
                self._log.info("resolved URL Host", **fields, resolved_addr=found)
                return address
            self._log.warn("failed to resolve URL Host", **fields, retry_interval="1s", error=problem)
            now = self._clock.monotonic()
            if now + RETRY_SECONDS >= self._deadline:
                raise _UnknownError(f'failed to resolve "{url}" (lookup {url.host}: {problem})')
            await self._clock.sleep_until(now + RETRY_SECONDS)


def _quoted(urls: Iterable[str]) -> str:
    """A list as Go prints it."""
    return "[" + " ".join(f'"{url}"' for url in urls) + "]"
