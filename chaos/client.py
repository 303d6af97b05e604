"""A client that knows what an error leaves open.

A request that was answered with an error may have been carried out, or may yet be.  Only two kinds of
errors are certain: the request never left, or the server says something that it only says *instead* of
carrying it out. All others are :class:`Unclear`.  For that reason nothing here tries again by itself.

The connection is rusd's own client role, which speaks to any etcd and tells when a request was not sent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
from google.protobuf.message import DecodeError, Message

from chaos.model import Answer, KeepAlive, Request
from chaos.translate import to_answer, to_message
from rusd.environment import Environment
from rusd.grpc import Code, StatusError
from rusd.logs import make_logger
from rusd.net import Client as Connection
from rusd.net import ClientStream, connect
from rusd.net.client import DEFAULT_LIMITS

CONNECT_SECONDS = 1.0
_LIMITS = attrs.evolve(DEFAULT_LIMITS, stream_window=64 * 1024)
"""The window that most clients grant: who doesn't read a stream soon holds the server up."""
CALL_SECONDS = 3.0

# What a server answers instead of carrying a request out.  UNAVAILABLE, DEADLINE_EXCEEDED, CANCELLED,
# UNKNOWN and INTERNAL are not here: etcd also gives them for requests that are in its log already.
_REFUSALS = frozenset(
    {
        Code.INVALID_ARGUMENT,
        Code.NOT_FOUND,
        Code.ALREADY_EXISTS,
        Code.PERMISSION_DENIED,
        Code.FAILED_PRECONDITION,
        Code.OUT_OF_RANGE,
        Code.UNIMPLEMENTED,
        Code.UNAUTHENTICATED,
    }
)
_ETCD = "etcdserver: "  # how all etcd's own errors begin; others are made up on the way
_TOO_MANY = "etcdserver: too many requests"


class CallError(Exception):
    """A request that was not answered with what was asked for; the text says why."""


class Failed(CallError):  # noqa: N818 - an outcome's name
    """The request was not carried out and never will be."""


class Unclear(CallError):  # noqa: N818 - an outcome's name
    """The request may have been carried out, or may be later."""


def classify(error: StatusError) -> CallError:
    """What an error status leaves open.

    RESOURCE_EXHAUSTED is a refusal only where it means too many requests: "database space exceeded" is also
    what etcd says after it applied a Put that overran the quota.
    """
    text = f"{error.code.name}: {error.message}"
    refused = error.code in _REFUSALS and error.message.startswith(_ETCD)
    if refused or (error.code is Code.RESOURCE_EXHAUSTED and error.message == _TOO_MANY):
        return Failed(text)
    return Unclear(text)


class Silence:
    """A log that nobody reads."""

    def write(self, line: str) -> None:
        """Drop ``line``."""


@attrs.frozen
class Address:
    """Where a member listens for clients."""

    host: str
    port: int


class Client:
    """Calls to one of several servers at a time; connects when needed.  Made by :func:`opened`."""

    def __init__(
        self, addresses: Sequence[Address], first: int, environment: Environment, nursery: trio.Nursery
    ) -> None:
        self.member = first % len(addresses)
        self._addresses = addresses
        self._environment = environment
        self._log = make_logger(Silence(), environment.clock)
        self._nursery = nursery
        self._connection: Connection | None = None
        self._life = trio.CancelScope()

    async def send(self, request: Request, timeout: float = CALL_SECONDS) -> Answer:
        """Carry ``request`` out and return the answer.  Raises :class:`Failed` or :class:`Unclear`."""
        path, message, answer = to_message(request)
        ends = not isinstance(request, KeepAlive)
        return to_answer(await self.call(path, message, answer, timeout, ends=ends))

    async def call(
        self,
        path: str,
        message: Message,
        answer: type[Message],
        timeout: float = CALL_SECONDS,
        *,
        ends: bool = True,
    ) -> Any:
        """Send one message to ``path`` and return the first that comes back.

        ``ends`` is False for a method whose requests are a stream, of which this is one.  Raises
        :class:`Failed` or :class:`Unclear`; after the latter the next call makes a new connection.
        """
        async with await self.stream(path, timeout) as stream:
            try:
                await stream.send(message.SerializeToString())
                if ends:
                    stream.end()
                payload = await stream.receive()
                if ends and payload is not None:
                    await stream.receive()  # the status
            except StatusError as error:
                outcome = classify(error)
                if isinstance(outcome, Unclear):
                    self.disconnect()
                raise outcome from error
        if payload is None:
            raise Unclear("the call ended well, but without an answer")
        try:
            return answer.FromString(payload)
        except DecodeError as error:
            raise Unclear(f"not an answer: {error}") from error

    async def stream(self, path: str, timeout: float | None = None) -> ClientStream:
        """Begin a streaming call.  Raises :class:`Failed`."""
        connection = await self._connected()
        try:
            return connection.stream(path, timeout=timeout)
        except StatusError as error:
            self.disconnect()
            raise Failed(f"not sent: {error.message}") from error

    def move(self, member: int | None = None) -> None:
        """Talk to ``member`` from now on; to the next one if none is named."""
        self.disconnect()
        self.member = (self.member + 1 if member is None else member) % len(self._addresses)

    def disconnect(self) -> None:
        """Close the connection; calls under way end as :class:`Unclear`."""
        self._life.cancel()
        self._connection = None

    async def _connected(self) -> Connection:
        if self._connection is not None:
            return self._connection
        address = self._addresses[self.member]
        life = self._life = trio.CancelScope()
        try:
            with trio.fail_after(CONNECT_SECONDS):
                connection: Connection = await self._nursery.start(self._keep, address, life)
        except (OSError, trio.TooSlowError) as error:
            raise Failed(f"not sent: no connection to {address.host}:{address.port}: {error}") from error
        self._connection = connection
        return connection

    async def _keep(
        self,
        address: Address,
        life: trio.CancelScope,
        task_status: trio.TaskStatus[Connection] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        with life:
            async with connect(
                self._environment, address.host, address.port, self._log, limits=_LIMITS
            ) as connection:
                task_status.started(connection)
                await trio.sleep_forever()


@asynccontextmanager
async def opened(addresses: Sequence[Address], first: int, environment: Environment) -> AsyncIterator[Client]:
    """A client of the servers at ``addresses``, first of the one numbered ``first``.  One task uses it."""
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield Client(addresses, first, environment, nursery)
        except Exception as error:
            # The nursery would wrap it in a group, but its tasks are nothing that the caller knows of.
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
