"""Services written for purerpc, in our registry.

A class derived from one of purerpc's generated ``*Servicer`` classes is served by
our engine instead of purerpc's server:

    add_service(registry, MyGreeter().service)

Unary methods become tasks, all others streams.  Handlers may take purerpc's second
argument ``request`` and may raise purerpc's status errors.  purerpc is imported by
this module only, and by generated code: importing it here costs nobody else.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any

import purerpc
from google.protobuf.message import Message
from purerpc.grpclib.events import RequestReceived
from purerpc.grpclib.exceptions import RpcFailedError

from rusd.grpc.call import Call, EndOfRequests, Requests, Responses
from rusd.grpc.registry import Registry
from rusd.grpc.status import Code, StatusError


def add_service(registry: Registry, service: purerpc.Service) -> None:
    """Register all methods of ``service``.

    Raises :class:`ValueError` for a method that is registered already.
    """
    for name, (method, signature) in service.methods.items():
        path = f"/{service.name}/{name}"
        request_type = signature.request_type
        match signature.cardinality:
            case purerpc.Cardinality.UNARY_UNARY:
                registry.task(path, request_type, partial(_unary_unary, method))
            case purerpc.Cardinality.UNARY_STREAM:
                registry.stream(path, request_type, partial(_unary_stream, method), single_request=True)
            case purerpc.Cardinality.STREAM_UNARY:
                registry.stream(path, request_type, partial(_stream_unary, method))
            case purerpc.Cardinality.STREAM_STREAM:
                registry.stream(path, request_type, partial(_stream_stream, method))


_Method = Callable[..., Any]


async def _unary_unary(method: _Method, call: Call, request: Message) -> bytes:
    return await _answer(method(request, request=_describe(call)))


async def _unary_stream(method: _Method, call: Call, requests: Requests, responses: Responses) -> None:
    request = await requests.receive()
    await _send_all(method(request, request=_describe(call)), responses)


async def _stream_unary(method: _Method, call: Call, requests: Requests, responses: Responses) -> None:
    async with aclosing(_iterate(requests)) as messages:
        payload = await _answer(method(messages, request=_describe(call)))
    await responses.send(payload)


async def _stream_stream(method: _Method, call: Call, requests: Requests, responses: Responses) -> None:
    async with aclosing(_iterate(requests)) as messages:
        await _send_all(method(messages, request=_describe(call)), responses)


async def _answer(result: Awaitable[Message]) -> bytes:
    try:
        return (await result).SerializeToString()
    except RpcFailedError as error:
        raise _status(error) from error


async def _send_all(answers: Any, responses: Responses) -> None:
    try:
        async with aclosing(answers):
            async for answer in answers:
                await responses.send(answer.SerializeToString())
    except RpcFailedError as error:
        raise _status(error) from error


async def _iterate(requests: Requests) -> AsyncGenerator[Any, None]:
    while True:
        try:
            message = await requests.receive()
        except EndOfRequests:
            return
        yield message


def _status(error: RpcFailedError) -> StatusError:
    return StatusError(Code(error.status.int_value), error.status.status_message)


def _describe(call: Call) -> RequestReceived:
    """The call as purerpc's handlers know it."""
    service, _, method = call.path.removeprefix("/").rpartition("/")
    request = RequestReceived(0, "http", service, method, _text(call, "content-type"))
    request.authority = _text(call, ":authority")
    request.user_agent = _text(call, "user-agent")
    request.custom_metadata = tuple(
        (name, value if name.endswith("-bin") else value.decode("latin-1"))
        for name, value in call.metadata.pairs()
        if not name.startswith((":", "grpc-")) and name not in ("content-type", "user-agent")
    )
    return request


def _text(call: Call, name: str) -> str:
    return (call.metadata.get(name) or b"").decode("latin-1")
