"""What the services of one server share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import trio

from etcdpb import rpc_pb2
from rusd.grpc import AnswerParts, Code, Gate, LongAnswer, Pending, StatusError
from rusd.replica import ReplicaError
from rusd.services import errors
from rusd.state import NOSPACE, Kind
from rusd.steps import Steps, Turn
from rusd.timeouts import finish_by
from rusd.wire import varint

if TYPE_CHECKING:
    import random

    from google.protobuf.message import Message

    from rusd.environment import Clock
    from rusd.lease import Lessor
    from rusd.logs import Logger
    from rusd.longwork import LongWork
    from rusd.replica import Replica
    from rusd.services.header import HeaderWriter
    from rusd.services.quota import Quota
    from rusd.services.remote import Leader, Remote
    from rusd.services.segments import Segments
    from rusd.state import StateMachine
    from rusd.watch import WatchHub

Answer = bytes | LongAnswer
A = TypeVar("A", bound=Answer)

APPLY_TIMEOUT_SECONDS = 1.0
"""For the state machine to catch up with what is committed (etcd's ``applyTimeout``)."""

_MOST_ENVELOPE_BYTES = 32


@attrs.frozen
class Limits:
    """Bounds on requests.  Sizes in bytes."""

    max_txn_ops: int = 128
    max_request_bytes: int = 1_572_864


class Proposed(Pending):
    """The answer of a call that waits for the replica; ``finish`` turns the result into its bytes."""

    __slots__ = ("_finish", "_log")

    def __init__(self, log: Logger, finish: Callable[[Any], Answer]) -> None:
        super().__init__()
        self._log = log
        self._finish = finish

    def settle_with(self, result: object, error: Exception | None) -> None:
        """End the call, whose turn has come.  Runs in the apply loop, so it lets nothing through."""
        if error is not None:
            self.fail(error if isinstance(error, StatusError) else errors.from_state(error))
            return
        try:
            self.settle(self._finish(result))
        except errors.REFUSALS as failure:
            self.fail(errors.from_state(failure))
        except StatusError as failure:
            self.fail(failure)
        except Exception as bug:
            self._log.error("failed to answer a request", error=bug)
            self.fail(StatusError(Code.UNKNOWN, str(bug)))


@attrs.frozen
class Context:
    """The parts a service works with.

    ``request_timeout``, in seconds, is for one request.  ``expelled`` is set once another member has
    said that this one belongs to the cluster no longer.
    """

    replica: Replica
    machine: StateMachine
    hub: WatchHub
    lessor: Lessor
    header: HeaderWriter
    quota: Quota
    clock: Clock
    random: random.Random
    log: Logger
    limits: Limits
    work: LongWork
    remote: Remote
    leader: Leader
    request_timeout: float
    gate: Gate
    expelled: trio.Event

    def propose(self, kind: Kind, request: Message, finish: Callable[[Any], Answer]) -> Pending:
        """Put ``request`` into the log; ``finish`` turns its result into the encoded answer.

        Raises :class:`~rusd.grpc.StatusError` if it can't be proposed.
        """
        size = request.ByteSize()
        if size + _MOST_ENVELOPE_BYTES > self.limits.max_request_bytes and self._is_too_large(size):
            raise errors.REQUEST_TOO_LARGE()
        proposed = Proposed(self.log, finish)
        try:
            self.replica.propose(kind, request, proposed.settle_with)
        except ReplicaError as error:
            raise errors.from_state(error) from error
        return proposed

    def _is_too_large(self, size: int) -> bool:
        """Whether a request of ``size`` bytes is over the limit, which in etcd holds for its log entry.

        Around the request there stand a header with a request id, which begins with the low
        16 bits of the member's id, and the request's own tag and length.
        """
        request_id = varint((self.header.member_id & 0xFFFF) << 48 | 1)
        envelope = 4 + len(request_id) + 1 + len(varint(size))
        return size + envelope > self.limits.max_request_bytes

    def check_quota(self, cost: int) -> Pending | None:
        """None if ``cost`` more bytes fit; else the refusal, which comes once the alarm is raised.

        If it is raised already, the refusal, a :class:`~rusd.grpc.StatusError`, is raised at once.
        """
        if self.quota.admits(cost):
            return None
        member = self.header.member_id
        if (member, NOSPACE) in self.machine.alarms.active():
            raise errors.NO_SPACE()
        alarm = rpc_pb2.AlarmRequest(
            action=rpc_pb2.AlarmRequest.ACTIVATE, memberID=member, alarm=rpc_pb2.NOSPACE
        )
        self.log.warn("exceeded backend quota; raising alarm", quota_size_bytes=self.quota.limit)
        refused = Pending()
        try:
            self.replica.propose(Kind.ALARM, alarm, lambda _result, _error: refused.fail(errors.NO_SPACE()))
        except ReplicaError as error:  # without a leader the write is refused all the same
            raise errors.NO_SPACE() from error
        return refused

    def read(self, answer: Callable[[], A]) -> A | Pending:
        """``answer()`` once a linearizable read may read the state; at once if possible."""
        replica = self.replica
        try:
            if replica.may_read_now():  # nothing to wait for: the usual case where there is one member
                return self.answer(answer)
            proposed = Proposed(self.log, lambda _: answer())
            if replica.read_index(proposed.settle_with):
                return self.answer(answer)
        except ReplicaError as error:
            raise errors.from_state(error) from error
        return proposed

    def answer(self, answer: Callable[[], A]) -> A:
        """``answer()``, with errors of the state as etcd's answers for them."""
        try:
            return answer()
        except errors.REFUSALS as error:
            raise errors.from_state(error) from error

    def answer_later(self, work: Callable[[], Awaitable[bytes]]) -> LongAnswer:
        """The answer that ``work`` gives in a task of its own, with errors of the state as etcd's."""

        async def send(out: AnswerParts) -> None:
            try:
                encoded = await work()
            except errors.REFUSALS as error:
                raise errors.from_state(error) from error
            out.begin(len(encoded))
            await out.send(encoded)

        return LongAnswer(send)

    async def wait_applied(self) -> None:
        """Return once all that is committed now is applied.  Raises :class:`StatusError` after a second."""
        core = self.replica.core
        if core.applied_index >= core.node.commit_index:
            return
        deadline = self.clock.monotonic() + APPLY_TIMEOUT_SECONDS
        try:
            await finish_by(self.clock, deadline, self.replica.wait_applied)
        except trio.TooSlowError:
            raise errors.APPLY_TIMEOUT() from None

    def long_answer(self, make: Callable[[Turn], Steps[Segments]]) -> LongAnswer:
        """An answer put together by the steps that ``make(turn)`` gives, in turns with other long work."""

        async def send(out: AnswerParts) -> None:
            turn = Turn(0)
            try:
                segments = await self.work.run(make(turn), turn)
            except errors.REFUSALS as error:
                raise errors.from_state(error) from error
            await segments.send(out, self.work)

        return LongAnswer(send)
