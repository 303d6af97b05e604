"""HTTP/1.1 on the client port: the JSON gateway's and the health checks' carrier.

Parsing and framing are h11's; here are the connection around it, the bounds,
and the errors that no handler is asked about.  What paths mean is the
:data:`HttpHandler`'s.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import h11
import trio

from rusd.environment import Channel, Clock
from rusd.grpc.deadlines import Deadline, Deadlines
from rusd.logs import Logger
from rusd.net.http import Header, HttpHandler, HttpRequest, HttpResponse
from rusd.net.limits import Limits

_PLAIN_TEXT: Header = (b"content-type", b"text/plain; charset=utf-8")


class _TooLargeError(Exception):
    """A request's body is over the bound."""


class HttpConnection:
    """Serves one HTTP/1.1 connection."""

    def __init__(
        self,
        channel: Channel,
        handler: HttpHandler,
        *,
        clock: Clock,
        deadlines: Deadlines,
        limits: Limits,
        log: Logger,
    ) -> None:
        self._channel = channel
        self._handler = handler
        self._clock = clock
        self._deadlines = deadlines
        self._limits = limits
        self._log = log
        self._h11 = h11.Connection(h11.SERVER)
        self._idle = True  # no request is being answered
        self._draining = False

    async def run(self, initial: bytes) -> None:
        """Answer requests until either side ends the connection."""
        self._h11.receive_data(initial)
        try:
            while not self._draining and await self._serve_one():
                self._h11.start_next_cycle()
        except (OSError, trio.ClosedResourceError):
            pass  # the client went
        finally:
            self._channel.close()

    def drain(self) -> None:
        """Close once the current request is answered."""
        self._draining = True
        if self._idle:
            self.close()

    def close(self) -> None:
        """Close at once."""
        self._channel.close()

    # -- one request ------------------------------------------------------------------

    async def _serve_one(self) -> bool:
        """Receive and answer one request; whether there may be another."""
        self._idle = True
        try:
            request = await self._receive_request()
            if request is None:
                return False
            self._idle = False
            response = await self._call_handler(request)
        except h11.RemoteProtocolError as error:
            error.__traceback__ = None  # h11's frames in it know the error: a cycle around this connection
            await self._refuse(error.error_status_hint, str(error))
            return False
        except _TooLargeError:
            await self._refuse(413, "request body too large")
            return False
        await self._respond(request, response)
        return self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE

    async def _receive_request(self) -> HttpRequest | None:
        deadline = self._clock.monotonic() + self._limits.http_idle_timeout
        entry = self._deadlines.add(deadline, self.close)
        try:
            head = await self._next_event()
            if not isinstance(head, h11.Request):
                return None
            self._idle = False
            if head.method == b"CONNECT":  # an answer would turn the connection into a tunnel
                raise h11.RemoteProtocolError("CONNECT is not supported", error_status_hint=405)
            body = bytearray()
            while isinstance(event := await self._next_event(), h11.Data):
                body += event.data
                if len(body) > self._limits.max_body_bytes:
                    raise _TooLargeError
        finally:
            self._deadlines.cancel(entry)
        return HttpRequest(
            method=head.method.decode("ascii"),
            target=head.target.decode("ascii"),
            headers=list(head.headers),
            body=bytes(body),
            peer=self._channel.peer,
        )

    async def _next_event(self) -> h11.Event:
        while True:
            event = self._h11.next_event()
            if isinstance(event, h11.Event):
                return event
            if event is h11.PAUSED:
                raise h11.RemoteProtocolError("unexpected data")
            if self._h11.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            await self._channel.wait_readable()
            data = self._channel.try_receive(self._limits.receive_bytes)
            if data is not None:
                self._h11.receive_data(data)

    async def _call_handler(self, request: HttpRequest) -> HttpResponse:
        try:
            return await self._handler(request)
        except Exception as error:
            self._log.error("http handler failed", path=request.target, error=error)
            return HttpResponse(500, [_PLAIN_TEXT], b"Internal Server Error\n")

    # -- the answer ------------------------------------------------------------------------

    async def _respond(self, request: HttpRequest, response: HttpResponse) -> None:
        headers = list(response.headers)
        if self._draining:
            headers.append((b"connection", b"close"))
        body = response.body
        if not isinstance(body, bytes):
            if request.method != "HEAD":
                await self._stream(response.status, headers, body)
                return
            await body.aclose()
            body = b""
        if not any(name.lower() == b"content-length" for name, _ in headers):
            headers.append((b"content-length", b"%d" % len(body)))
        head = self._encode(h11.Response(status_code=response.status, headers=headers))
        content = b"" if request.method == "HEAD" else self._encode(h11.Data(data=body))
        await self._send_all(head + content + self._encode(h11.EndOfMessage()))

    async def _stream(self, status: int, headers: list[Header], body: AsyncGenerator[bytes, None]) -> None:
        """Send a body of unknown length; stop making it when the client goes."""
        await self._send(h11.Response(status_code=status, headers=headers))
        try:
            async with trio.open_nursery() as nursery, aclosing(body) as parts:
                nursery.start_soon(self._cancel_when_gone, nursery.cancel_scope)
                async for part in parts:
                    await self._send(h11.Data(data=part))
                await self._send(h11.EndOfMessage())
                nursery.cancel_scope.cancel()
        except* (OSError, trio.ClosedResourceError):
            self.close()
        except* Exception as error:  # the status is out; all that is left is to break off
            self._log.error("http handler failed", error=error)
            self.close()

    async def _cancel_when_gone(self, scope: trio.CancelScope) -> None:
        try:
            while True:
                await self._channel.wait_readable()
                data = self._channel.try_receive(self._limits.receive_bytes)
                if data == b"":
                    break
                if data is not None:
                    self._h11.receive_data(data)  # the next request, early
                    return
        except (OSError, trio.ClosedResourceError):
            pass
        self.close()
        scope.cancel()

    async def _refuse(self, status: int, reason: str) -> None:
        """Answer what is no proper request, and break off."""
        if self._h11.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        headers = [_PLAIN_TEXT, (b"connection", b"close"), (b"content-length", b"%d" % len(reason))]
        response = h11.Response(status_code=status, headers=headers)
        parts = (response, h11.Data(data=reason.encode()), h11.EndOfMessage())
        await self._send_all(b"".join(map(self._encode, parts)))

    def _encode(self, event: h11.Event) -> bytes:
        return self._h11.send(event) or b""

    async def _send(self, event: h11.Event) -> None:
        await self._send_all(self._encode(event))

    async def _send_all(self, data: bytes) -> None:
        stall: Deadline | None = None
        try:
            while data:
                sent = self._channel.try_send(data)
                data = data[sent:]
                if data:
                    if stall is not None:
                        self._deadlines.cancel(stall)
                    deadline = self._clock.monotonic() + self._limits.stall_timeout
                    stall = self._deadlines.add(deadline, self.close)
                    await self._channel.wait_writable()
        finally:
            if stall is not None:
                self._deadlines.cancel(stall)
