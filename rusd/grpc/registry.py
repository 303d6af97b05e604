"""Which function answers which method: paths, request types, handlers.

A registry is filled once, by whoever composes the server, and then only read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any

import attrs
from google.protobuf.message import Message

from rusd.grpc.call import Call, Feed, LongAnswer, Pending, Requests, Responses
from rusd.grpc.quote import quote
from rusd.grpc.status import Code, StatusError


class Kind(Enum):
    """How a handler runs."""

    INLINE = "inline"  # a plain function, called in the connection's turn
    TASK = "task"  # an async function of one request, in a task of its own
    STREAM = "stream"  # an async function of many requests and answers, likewise
    FEED = "feed"  # a plain function of each of many requests, called in the connection's turn


InlineHandler = Callable[[Call, Any], bytes | Pending | LongAnswer]
TaskHandler = Callable[[Call, Any], Awaitable[bytes]]
StreamHandler = Callable[[Call, Requests, Responses], Awaitable[None]]
FeedHandler = Callable[[Call, Callable[[StatusError], None]], Feed]


@attrs.frozen
class Method:
    """One registered method.

    ``decode`` makes a request of its bytes and raises
    :class:`google.protobuf.message.DecodeError` where it can't.  With
    ``single_request`` a stream's client may send exactly one message.
    """

    path: str
    kind: Kind
    decode: Callable[[bytes], Message | bytes]
    handler: Callable[..., Any]
    single_request: bool = False


class Registry:
    """The methods of a server, by path."""

    def __init__(self) -> None:
        self._methods: dict[bytes, Method] = {}
        self._services: set[bytes] = set()

    def inline(self, path: str, request_type: type[Message], handler: InlineHandler) -> None:
        """Answer the unary method ``path`` with a plain function.

        It returns the encoded answer, a :class:`Pending` for one that comes later or a
        :class:`LongAnswer` for a large one, or raises :class:`StatusError`.  It must not wait.
        """
        self._add(Method(path, Kind.INLINE, request_type.FromString, handler))

    def task(self, path: str, request_type: type[Message] | None, handler: TaskHandler) -> None:
        """Answer the unary method ``path`` with an async function that returns the encoded answer.

        Without a ``request_type`` it gets the bytes as they came.
        """
        self._add(Method(path, Kind.TASK, _decoder(request_type), handler))

    def stream(
        self,
        path: str,
        request_type: type[Message] | None,
        handler: StreamHandler,
        *,
        single_request: bool = False,
    ) -> None:
        """Answer the streaming method ``path``; the status is OK when ``handler`` returns.

        ``single_request`` is for methods that stream only their answers: a client
        that sends no message or several gets the error grpc-go has for it.
        Without a ``request_type`` messages are the bytes as they came.
        """
        self._add(Method(path, Kind.STREAM, _decoder(request_type), handler, single_request))

    def feed(self, path: str, handler: FeedHandler) -> None:
        """Take the messages of the method ``path``, as bytes, each in the turn in which it comes.

        ``handler(call, end)`` is called once a call and returns its :class:`~rusd.grpc.call.Feed`, or
        raises :class:`StatusError`.  ``end`` ends the call with a status, at any time.  The client
        hears at once that it was let in, and nothing more; it may send for as long as it likes.
        """
        self._add(Method(path, Kind.FEED, bytes, handler))

    def find(self, path: bytes) -> Method | None:
        """The method at ``path``, if there is one."""
        return self._methods.get(path)

    def paths(self) -> list[str]:
        """The paths of all methods, sorted."""
        return sorted(method.path for method in self._methods.values())

    def missing(self, path: bytes) -> StatusError:
        """The error for a ``path`` nobody answers, in grpc-go's words."""
        service, slash, method = path.removeprefix(b"/").rpartition(b"/")
        if not slash or not path.startswith(b"/"):
            return StatusError(Code.UNIMPLEMENTED, f"malformed method name: {quote(path)}")
        shown = service.decode("utf-8", "replace")
        if service not in self._services:
            return StatusError(Code.UNIMPLEMENTED, f"unknown service {shown}")
        name = method.decode("utf-8", "replace")
        return StatusError(Code.UNIMPLEMENTED, f"unknown method {name} for service {shown}")

    def _add(self, method: Method) -> None:
        path = method.path.encode()
        service, slash, name = path.removeprefix(b"/").rpartition(b"/")
        if not (path.startswith(b"/") and service and slash and name):
            raise ValueError(f"not a method path: {method.path!r}")
        if path in self._methods:
            raise ValueError(f"{method.path} is registered already")
        self._methods[path] = method
        self._services.add(service)


def _decoder(request_type: type[Message] | None) -> Callable[[bytes], Message | bytes]:
    return bytes if request_type is None else request_type.FromString
