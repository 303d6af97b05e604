"""The other members, as services reach them: questions that one of them must answer, the leader above all.

A question goes to a member by its id, with a method's name and bytes; what comes
back is an answer, an error that the client shall see, or word that this member
does not lead (any more): then the asking one looks for who does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

import trio

from rusd.grpc import Code, StatusError
from rusd.replica.peers import PeerError
from rusd.services import errors

if TYPE_CHECKING:
    from rusd.environment import Clock
    from rusd.replica import Replica

RETRY_SECONDS = 0.05
"""Between two questions to a leader that did not answer."""

NOT_LEADER_HERE = Code.ABORTED
"""The code of a leader's answer that is none; clients never see it."""

Handler = Callable[[bytes], Awaitable[bytes]]
"""Answers one question of a peer.  Raises :class:`StatusError`, or an error of the state."""

PeerHandler = Callable[[int, bytes], Awaitable[bytes]]
"""The same for the transport: it also gives the id of the member that asks, and takes a status alone."""


class Remote(Protocol):
    """The transport, as far as services know it."""

    def active_since(self, member: int) -> float | None:
        """Since when, on the monotonic clock, ``member`` has been heard of without a break; None: not now."""

    async def call(self, member: int, method: str, payload: bytes, timeout: float) -> bytes:
        """Have ``member`` answer.

        Raises the :class:`StatusError` that it answered with, and :class:`PeerError` if no answer came
        within ``timeout`` seconds.
        """


class NobodyElse:
    """There are no other members, or none can be reached."""

    def active_since(self, _member: int) -> float | None:
        return None

    async def call(self, member: int, method: str, payload: bytes, timeout: float) -> bytes:
        await trio.lowlevel.checkpoint()
        raise PeerError(f"member {member:x} can't be reached")


class NotLeaderHereError(StatusError):
    """The leader was asked, and it is not this member."""

    def __init__(self) -> None:
        super().__init__(NOT_LEADER_HERE, "this member does not lead")


def answering(work: Handler) -> PeerHandler:
    """``work`` as peers call it: with errors of the state as etcd's."""

    async def answer(_peer: int, payload: bytes) -> bytes:
        try:
            return await work(payload)
        except errors.REFUSALS as error:
            raise errors.from_state(error) from error

    return answer


class Leader:
    """Whoever leads now, this member or another.  Times are in seconds."""

    def __init__(
        self,
        replica: Replica,
        remote: Remote,
        clock: Clock,
        *,
        own_id: int,
        election_timeout: float,
        request_timeout: float,
    ) -> None:
        self._replica = replica
        self._remote = remote
        self._clock = clock
        self._own_id = own_id
        self._election_timeout = election_timeout
        self._request_timeout = request_timeout

    @property
    def is_here(self) -> bool:
        """Whether this member leads, as far as it knows."""
        return self._replica.leader_id == self._own_id

    async def answer(self, method: str, payload: bytes, here: Handler, *, once: bool = False) -> bytes:
        """The leader's answer, who may change meanwhile; ``here`` gives it where this member leads.

        ``once`` is for what must not be done twice: then a lost question is not asked again.
        Raises :class:`StatusError`: the leader's own, or that there is none, or that time is up.
        """
        deadline = self._clock.monotonic() + self._request_timeout
        while True:
            leader = await self._find(deadline, errors.TIMEOUT if once else errors.NO_LEADER)
            left = deadline - self._clock.monotonic()
            reached = True
            try:
                if leader == self._own_id:
                    return await here(payload)
                # One that is gone is not waited for: another will be known long before time is up.
                reached = self._remote.active_since(leader) is not None
                if reached:
                    return await self._remote.call(leader, method, payload, left)
            except PeerError:
                if once:
                    raise errors.TIMEOUT_CONNECTION_LOST() from None
            except StatusError as error:
                if error.code is not NOT_LEADER_HERE:
                    raise
            now = self._clock.monotonic()
            if now >= deadline:
                raise errors.TIMEOUT() if reached or not once else errors.TIMEOUT_CONNECTION_LOST()
            await self._clock.sleep_until(min(now + RETRY_SECONDS, deadline))

    async def _find(self, deadline: float, refusal: Callable[[], StatusError]) -> int:
        """The leader's id; looks again after each election timeout while there is none, as etcd does."""
        while not (leader := self._replica.leader_id):
            now = self._clock.monotonic()
            if now >= deadline:
                raise refusal()
            await self._clock.sleep_until(min(now + self._election_timeout, deadline))
        return leader
