"""What the services of one server share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from etcdpb import rpc_pb2
from rusd.grpc import Code, Pending, StatusError
from rusd.replica import ReplicaError
from rusd.services import errors
from rusd.state import NOSPACE, Kind
from rusd.wire import varint

if TYPE_CHECKING:
    import random

    from google.protobuf.message import Message

    from rusd.environment import Clock
    from rusd.lease import Lessor
    from rusd.logs import Logger
    from rusd.replica import Replica
    from rusd.services.header import HeaderWriter
    from rusd.services.quota import Quota
    from rusd.state import StateMachine
    from rusd.watch import WatchHub


_MOST_ENVELOPE_BYTES = 32


@attrs.frozen
class Limits:
    """Bounds on requests.  Sizes in bytes."""

    max_txn_ops: int = 128
    max_request_bytes: int = 1_572_864


@attrs.frozen
class Context:
    """The parts a service works with."""

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

    def propose(self, kind: Kind, request: Message, finish: Callable[[object], bytes]) -> Pending:
        """Put ``request`` into the log; ``finish`` turns its result into the encoded answer.

        Raises :class:`~rusd.grpc.StatusError` if it can't be proposed.
        """
        size = request.ByteSize()
        if size + _MOST_ENVELOPE_BYTES > self.limits.max_request_bytes and self._is_too_large(size):
            raise errors.REQUEST_TOO_LARGE()
        pending = Pending()

        def waiter(result: object, error: Exception | None) -> None:
            self._settle(pending, lambda: finish(result), error)

        try:
            self.replica.propose(kind, request, waiter)
        except ReplicaError as error:
            raise errors.from_state(error) from error
        return pending

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

    def read(self, answer: Callable[[], bytes]) -> bytes | Pending:
        """``answer()`` once a linearizable read may read the state; at once if possible."""
        pending = Pending()

        def waiter(_result: object, error: Exception | None) -> None:
            self._settle(pending, answer, error)

        try:
            readable = self.replica.read_index(waiter)
        except ReplicaError as error:
            raise errors.from_state(error) from error
        return self.answer(answer) if readable else pending

    def answer(self, answer: Callable[[], bytes]) -> bytes:
        """``answer()``, with errors of the state as etcd's answers for them."""
        try:
            return answer()
        except errors.REFUSALS as error:
            raise errors.from_state(error) from error

    def _settle(self, pending: Pending, answer: Callable[[], bytes], error: Exception | None) -> None:
        """End a call whose turn has come.  Runs in the apply loop, so it lets nothing through."""
        try:
            if error is not None:
                raise error
            pending.settle(answer())
        except errors.REFUSALS as failure:
            pending.fail(errors.from_state(failure))
        except StatusError as failure:
            pending.fail(failure)
        except Exception as bug:
            self.log.error("failed to answer a request", error=bug)
            pending.fail(StatusError(Code.UNKNOWN, str(bug)))
