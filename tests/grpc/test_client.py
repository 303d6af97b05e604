"""The client's side of a connection against a server that does not behave, no network between."""

from __future__ import annotations

from rusd.grpc import Code, Deadlines
from rusd.grpc.client import ClientConnection
from rusd.http2 import Connection, Role, Settings


class Server:
    """The other end: a bare HTTP/2 connection."""

    def __init__(self) -> None:
        self.resets: list[tuple[int, int]] = []
        self.http2 = Connection(Role.SERVER, self)
        self.http2.initiate()

    def on_headers(self, stream_id: int, headers: list[tuple[bytes, bytes]], end_stream: bool) -> None: ...
    def on_data(self, stream_id: int, data: bytes, end_stream: bool) -> None: ...
    def on_window(self, stream_id: int) -> None: ...
    def on_ping_ack(self, payload: bytes) -> None: ...
    def on_goaway(self, last_stream_id: int, error_code: int, debug: bytes) -> None: ...
    def on_closed(self, error_code: int, reason: str) -> None: ...

    def on_reset(self, stream_id: int, error_code: int) -> None:
        self.resets.append((stream_id, error_code))


class Host:
    """Time stands still, and writing needs no reminder."""

    def monotonic(self) -> float:
        return 0.0

    def wrote(self) -> None: ...


def exchange(client: ClientConnection, server: Server) -> None:
    """Carry bytes both ways until there are none."""
    while (up := client.http2.data_to_send()) + (down := server.http2.data_to_send()):
        server.http2.receive(up)
        client.http2.receive(down)
        while server.http2.advance() or client.http2.advance():
            pass


def test_a_call_that_the_server_ends_without_trailers_leaves_no_stream_open() -> None:
    server = Server()
    client = ClientConnection(
        Host(),
        Deadlines(),
        authority="localhost",
        max_receive_bytes=1000,
        settings=Settings(),
        connection_window=65_535,
    )
    client.http2.initiate()
    call = client.start("/test.Test/Stream")
    exchange(client, server)
    server.http2.send_headers(1, [(b":status", b"200"), (b"content-type", b"application/grpc")])
    server.http2.send_data(1, b"", end_stream=True)
    exchange(client, server)
    assert call.ended
    assert call.error is not None
    assert call.error.code is Code.INTERNAL
    assert client.http2.open_streams == server.http2.open_streams == 0
    assert server.resets == [(1, 0)]
