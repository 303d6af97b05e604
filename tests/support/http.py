"""Plain HTTP questions to a server inside the test's own event loop."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import h11

from rusd.environment import Environment


@attrs.frozen
class Answer:
    """Header names are lower-case."""

    status: int
    headers: dict[str, str]
    body: str
    raw: bytes


async def ask(
    environment: Environment,
    url: str,
    target: str,
    method: str = "GET",
    body: bytes = b"",
    headers: Iterable[tuple[str, str]] = (),
) -> Answer:
    """One request on a connection of its own."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    channel = await environment.transport.connect(host, int(port))
    connection = h11.Connection(h11.CLIENT)
    try:
        fields = [("Host", "test"), *headers]
        if body:
            fields.append(("Content-Length", str(len(body))))
        data = connection.send(h11.Request(method=method, target=target, headers=fields)) or b""
        if body:
            data += connection.send(h11.Data(data=body)) or b""
        data += connection.send(h11.EndOfMessage()) or b""
        while data := data[channel.try_send(data) :]:
            await channel.wait_writable()
        status, seen, content = 0, {}, b""
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                status = event.status_code
                seen = {name.decode(): value.decode() for name, value in event.headers}
            elif isinstance(event, h11.Data):
                content += event.data
            elif event is h11.NEED_DATA:
                await channel.wait_readable()
                received = channel.try_receive(65536)
                if received is not None:
                    connection.receive_data(received)
        return Answer(status, seen, content.decode(errors="replace"), content)
    finally:
        channel.close()
