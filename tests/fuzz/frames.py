"""Target: an HTTP/2 connection, either role, fed any bytes.

The first octets choose the role, settings and limits.  Then the input is either what the peer sends, cut
into pieces, or a list of instructions that build frames which are mostly in order, so that deep states are
reached.  The other end of the API is a host that behaves like the gRPC engine: it answers, resets,
acknowledges late or not at all, and now and then fails.

Asserted: no exception but the host's own comes out; events keep their order; the output is judged by
:class:`~tests.fuzz.peer_view.PeerView`; what is buffered stays within bounds; ``check()`` holds all along.
"""

from __future__ import annotations

from rusd.http2 import Connection, Limits, Role, Settings
from tests.fuzz.frame_script import Peer
from tests.fuzz.host import REQUEST, Host, HostBrokeError
from tests.fuzz.peer_view import PeerView
from tests.fuzz.source import Source


class Harness:
    """A connection, its host and its peer."""

    def __init__(self, source: Source) -> None:
        choices = source.byte()
        self.is_client = bool(choices & 1)
        self.structured = bool(choices & 2)
        dribble = choices & 4
        self._budget = 1 if dribble else 256
        variety = source.byte()
        self.settings = Settings(
            header_table_size=(4096, 0, 100, 8192)[variety & 3],
            max_concurrent_streams=(None, 3)[choices >> 3 & 1],
            initial_window_size=(65_535, 0, 100, 1 << 20)[variety >> 2 & 3],
            max_frame_size=(16_384, 20_000)[variety >> 4 & 1],
            max_header_list_size=(2000, 65_536)[variety >> 5 & 1],
        )
        window = (65_535, 1 << 20)[variety >> 6 & 1]
        limits = Limits(continuations=3, unsent_answers=20, spoilt_streams=5) if variety & 0x80 else Limits()
        self.host = Host(Source(source.take(8 + (choices >> 6) * 8)))
        self.connection = self.host.connection = Connection(
            Role.CLIENT if self.is_client else Role.SERVER,
            self.host,
            self.settings,
            window,
            low_water_mark=100 if choices & 0x20 else 64 * 1024,
            output_limit=1000 if choices & 0x10 else None,
            limits=limits,
        )
        self.view = PeerView(
            client=self.is_client, window=window, stream_window=self.settings.initial_window_size
        )
        self._window = window
        self._abandoned = False
        self.connection.initiate()

    def feed(self, data: bytes) -> None:
        """Give ``data`` to the connection and parse it."""
        if not self.connection.closed:
            self.view.sent(data)
        self.connection.receive(data)
        while True:
            try:
                if not self.connection.advance(self._budget):
                    break
            except HostBrokeError:
                continue
        self.check()

    def drain(self) -> None:
        """Take the output and judge it."""
        for _ in range(1000):  # with an output limit: not everything, or a test with 200 kB would take long
            try:
                data = self.connection.data_to_send()
            except HostBrokeError:
                continue
            if self._abandoned:
                assert not data, "output after the end"
            self.view.received(data)
            if not data:
                break
        else:
            return
        if not self.connection.closed:
            self.view.settled({number: self.connection.queued(number) for number in self.host.known})

    def check(self) -> None:
        connection = self.connection
        connection.check()
        assert connection._available <= self.settings.max_frame_size + 9 or connection.closed
        list_limit = self.settings.max_header_list_size or 0
        assert connection._block_size <= 2 * list_limit + self.settings.max_frame_size
        if self.settings.max_concurrent_streams is not None and not self.is_client:
            assert connection.open_streams <= self.settings.max_concurrent_streams
        alive = self.host.unacknowledged.items()
        held = sum(length for stream_id, length in alive if stream_id in connection._streams)
        assert held <= self._window, "more is held than the window allows"

    def end(self) -> None:
        """The last look."""
        self.check()
        self.drain()
        if not self._abandoned and self.host.closed:
            assert self.connection.closed
            assert self.view.goaway == self.host.closed[0], "closed, and the peer was not told why"
        if self.connection.closed:
            assert self.connection.open_streams == 0
        self.connection.abandon()
        assert self.connection.data_to_send() == b""

    def abandon(self) -> None:
        self.connection.abandon()
        self._abandoned = True


def target(data: bytes) -> None:
    """Raises whatever should not have come out of the connection, and :class:`AssertionError`."""
    source = Source(data)
    harness = Harness(source)
    if harness.structured:
        if harness.is_client:
            for _ in range(2):
                harness.host.opened(harness.connection.open_stream(REQUEST), False)
        Peer(harness, source).run()
    else:
        step = source.byte() or 10_000
        if harness.is_client:
            harness.host.opened(harness.connection.open_stream(REQUEST), True)
        rest = source.rest()
        for at in range(0, len(rest), step):
            harness.feed(rest[at : at + step])
            if at & 1:
                harness.drain()
    harness.end()
