"""A small gRPC client over grpcio, with every answer as a value.

Requests go out as bytes and answers come in as bytes, so that a test can send what no generated stub
would let it send, and compare what really arrived.  ``Client.call("KV/Put", request)`` covers all unary
methods; :class:`WatchStream` and :class:`Duplex` the streams.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import attrs
import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from etcdpb import rpc_pb2, v3election_pb2, v3lock_pb2

CALL_SECONDS = 30.0
OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Every client has connections of its own: a test that kills one must not touch its neighbour.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    # After a kill the server is back within a second; don't sleep through it.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
]

_M = TypeVar("_M", bound=Message)


@attrs.frozen
class Method:
    """One gRPC method: its path and its two message classes."""

    path: str
    request: type[Message]
    response: type[Message]


def _methods() -> dict[str, Method]:
    """All methods of etcd's API by ``Service/Method``."""
    found = {}
    for file in (rpc_pb2.DESCRIPTOR, v3lock_pb2.DESCRIPTOR, v3election_pb2.DESCRIPTOR):
        for service in file.services_by_name.values():
            for method in service.methods:
                found[f"{service.name}/{method.name}"] = Method(
                    f"/{service.full_name}/{method.name}",
                    GetMessageClass(method.input_type),
                    GetMessageClass(method.output_type),
                )
    return found


METHODS = _methods()


@attrs.frozen
class Answer:
    """What a unary call ended with: a status, and the message when the status is OK."""

    code: str
    details: str
    message: Any = None

    @property
    def ok(self) -> bool:
        """Whether the status is OK."""
        return self.code == "OK"

    def __str__(self) -> str:
        if not self.ok:
            return f"{self.code}: {self.details}"
        return f"OK {type(self.message).__name__} {{{_one_line(self.message)}}}"


class Client:
    """One channel to one server, and a unary call for each method.

    ``wait=True``: a call made while there is no connection waits for one, as after a restart.  Without it
    such a call fails at once with UNAVAILABLE, which is what a writer that expects a kill wants.
    """

    def __init__(self, target: str, *, wait: bool = True) -> None:
        self.target = target
        self._wait = wait
        self.channel = grpc.insecure_channel(target, options=OPTIONS)

    def call(self, name: str, request: Message, *, timeout: float = CALL_SECONDS) -> Answer:
        """Send ``request`` to method ``name`` (``"KV/Put"``) and return how it ended."""
        method = METHODS[name]
        return self.call_bytes(method.path, request.SerializeToString(), method.response, timeout=timeout)

    def start(self, name: str, request: Message, *, timeout: float = CALL_SECONDS) -> Callable[[], Answer]:
        """As :meth:`call`, without waiting: calling the result waits."""
        method = METHODS[name]
        future = self.channel.unary_unary(method.path).future(
            request.SerializeToString(), timeout=timeout, wait_for_ready=self._wait
        )
        return lambda: _settle(future.result, method.response)

    def call_bytes(
        self, path: str, request: bytes, response: type[Message], *, timeout: float = CALL_SECONDS
    ) -> Answer:
        """Send any bytes to any path."""
        call = self.channel.unary_unary(path)
        return _settle(lambda: call(request, timeout=timeout, wait_for_ready=self._wait), response)

    def ok(self, name: str, request: Message, *, timeout: float = CALL_SECONDS) -> Any:
        """As :meth:`call`, for a call that must succeed: returns its message."""
        answer = self.call(name, request, timeout=timeout)
        assert answer.ok, f"{name} {{{_one_line(request)}}} ended with {answer}"
        return answer.message

    # -- the calls that nearly every test makes -------------------------------

    def put(self, key: bytes, value: bytes, **fields: Any) -> Any:
        """Put that must succeed."""
        return self.ok("KV/Put", rpc_pb2.PutRequest(key=key, value=value, **fields))

    def get(self, key: bytes, range_end: bytes = b"", **fields: Any) -> Any:
        """Range that must succeed."""
        return self.ok("KV/Range", rpc_pb2.RangeRequest(key=key, range_end=range_end, **fields))

    def delete(self, key: bytes, range_end: bytes = b"", **fields: Any) -> Any:
        """DeleteRange that must succeed."""
        return self.ok("KV/DeleteRange", rpc_pb2.DeleteRangeRequest(key=key, range_end=range_end, **fields))

    def grant(self, lease: int, ttl: int) -> Any:
        """LeaseGrant that must succeed."""
        return self.ok("Lease/LeaseGrant", rpc_pb2.LeaseGrantRequest(ID=lease, TTL=ttl))

    def watch(self) -> WatchStream:
        """A new Watch stream."""
        return WatchStream(self)

    def close(self) -> None:
        """Close the channel; open calls end."""
        self.channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Duplex(Generic[_M]):
    """A bidirectional stream: :meth:`send` what you like; a thread hands each answer to ``on_message``."""

    def __init__(self, client: Client, name: str, on_message: Callable[[_M], None]) -> None:
        self._changed = threading.Condition()
        method = METHODS[name]
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._response = method.response
        self._on_message = on_message
        self._call = client.channel.stream_stream(method.path)(
            iter(self._outgoing.get, None), wait_for_ready=True
        )
        self.ended_with: Answer | None = None
        self._reader = threading.Thread(target=self._read, name=f"{name} reader", daemon=True)
        self._reader.start()

    def send(self, request: Message) -> None:
        """Queue one request."""
        self._outgoing.put(request.SerializeToString())

    def half_close(self) -> None:
        """Say that no more requests come."""
        self._outgoing.put(None)

    def wait(self, condition: Callable[[], bool], what: str, seconds: float = CALL_SECONDS) -> None:
        """Wait until ``condition`` holds, looking after each answer; TimeoutError after ``seconds``."""
        with self._changed:
            self._changed.wait_for(lambda: condition() or self.ended_with is not None, seconds)
            if not condition():
                raise TimeoutError(f"{what}: not within {seconds} s; stream {self.ended_with or 'open'}")

    def close(self) -> None:
        """Cancel the stream and wait for the reading thread."""
        self._call.cancel()
        self._outgoing.put(None)
        self._reader.join(CALL_SECONDS)

    def _read(self) -> None:
        try:
            for payload in self._call:
                with self._changed:
                    self._on_message(self._response.FromString(payload))  # type: ignore[arg-type]
                    self._changed.notify_all()
        except grpc.RpcError as error:
            self._end(Answer(error.code().name, error.details() or ""))
        else:
            self._end(Answer("OK", ""))

    def _end(self, answer: Answer) -> None:
        with self._changed:
            self.ended_with = answer
            self._changed.notify_all()


class WatchStream:
    """One Watch stream and every response it ever got, in order."""

    def __init__(self, client: Client) -> None:
        self.responses: list[rpc_pb2.WatchResponse] = []
        self._duplex: Duplex[rpc_pb2.WatchResponse] = Duplex(client, "Watch/Watch", self._take)

    def create(self, key: bytes, range_end: bytes = b"", **fields: Any) -> rpc_pb2.WatchResponse:
        """Create a watcher and return the answer to that."""
        return self.create_raw(rpc_pb2.WatchCreateRequest(key=key, range_end=range_end, **fields))

    def create_raw(self, request: rpc_pb2.WatchCreateRequest) -> rpc_pb2.WatchResponse:
        """Create a watcher from a whole request and return the answer to that."""
        seen = self._count_created()
        self.send(rpc_pb2.WatchRequest(create_request=request))
        self.wait(lambda: self._count_created() > seen, "a created response")
        return [response for response in self.responses if response.created][seen]

    def send(self, request: rpc_pb2.WatchRequest) -> None:
        """Queue any request."""
        self._duplex.send(request)

    def cancel(self, watch_id: int) -> None:
        """Ask for the end of one watcher."""
        self.send(rpc_pb2.WatchRequest(cancel_request=rpc_pb2.WatchCancelRequest(watch_id=watch_id)))

    def progress(self) -> None:
        """Ask how far the stream is."""
        self.send(rpc_pb2.WatchRequest(progress_request=rpc_pb2.WatchProgressRequest()))

    def events(self, watch_id: int | None = None) -> list[Any]:
        """All events so far, of one watcher or of all."""
        return [
            event
            for response in list(self.responses)
            if watch_id is None or response.watch_id == watch_id
            for event in response.events
        ]

    def wait(self, condition: Callable[[], bool], what: str, seconds: float = CALL_SECONDS) -> None:
        """Wait until ``condition`` holds, looking after each response; TimeoutError after ``seconds``."""
        self._duplex.wait(condition, what, seconds)

    def wait_for_events(self, count: int, seconds: float = CALL_SECONDS) -> list[Any]:
        """Wait until ``count`` events have come, and return all that came."""
        self.wait(lambda: len(self.events()) >= count, f"{count} events", seconds)
        return self.events()

    @property
    def ended_with(self) -> Answer | None:
        """How the stream ended; None while it is open."""
        return self._duplex.ended_with

    def close(self) -> None:
        """Cancel the stream."""
        self._duplex.close()

    def _take(self, response: rpc_pb2.WatchResponse) -> None:
        self.responses.append(response)

    def _count_created(self) -> int:
        return sum(response.created for response in self.responses)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def eventually(condition: Callable[[], bool], what: str, seconds: float = CALL_SECONDS) -> None:
    """Wait for something that no message announces (a lease running out, say); AssertionError after that."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def server_stream(client: Client, name: str, request: Message) -> Generator[Any, None, None]:
    """The messages of a server-streaming method; closing the iterator cancels the call."""
    method = METHODS[name]
    call = client.channel.unary_stream(method.path)(request.SerializeToString())
    try:
        for payload in call:
            yield method.response.FromString(payload)
    finally:
        call.cancel()


def _settle(wait: Callable[[], bytes], response: type[Message]) -> Answer:
    try:
        payload = wait()
    except grpc.RpcError as error:
        return Answer(error.code().name, error.details() or "")
    return Answer("OK", "", response.FromString(payload))


def _one_line(message: Message) -> str:
    return " ".join(str(message).split())
