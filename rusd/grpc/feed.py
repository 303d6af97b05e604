"""A call whose client only sends, served in the connection's turns.

A stream's handler is a task: each message costs it a switch, and what it does with the message is seen
by nobody before it has run.  A feed is called instead, with each message as it is parsed, so that
what follows from it can leave in the same turn.  There is no back-pressure of its own: what comes is
consumed, as fast as it can be read.
"""

from __future__ import annotations

from rusd.grpc.call import Feed
from rusd.grpc.framing import PREFIX_SIZE
from rusd.grpc.server_call import StreamCall
from rusd.grpc.status import Code, StatusError


class FeedCall(StreamCall):
    """One feed."""

    __slots__ = ("_feed",)

    _feed: Feed | None

    def start(self) -> None:
        """Ask the handler; let the client in, or tell it why not."""
        self._feed = None
        connection = self.connection
        try:
            self._feed = self.method.handler(self, self.end)
        except StatusError as error:
            self.end(error)
            return
        except Exception as error:
            connection.crash(self, error)
            return
        self.headers_sent = True
        connection.http2.send_encoded_headers(self.stream_id, self.block)
        connection.wrote()
        if self.ended:
            connection.finish(self)

    def end(self, error: StatusError) -> None:
        """End the call; nothing happens if it is over."""
        self.connection.fail(self, error)

    def receive(self, data: bytes, end_stream: bool) -> None:
        if end_stream:
            self.ended = True
        if self.is_one_message(data):
            self.connection.http2.acknowledge(self.stream_id, len(data))
            self._deliver(data[PREFIX_SIZE:])
        else:
            self.reader.feed(data)
            self._take_all()
            self._weigh()
        if not self.open:
            return
        self._acknowledge()
        if end_stream:
            self._finish()

    def _take_all(self) -> None:
        try:
            while self.open and (payload := self.reader.next_message()) is not None:
                self._deliver(payload)
        except StatusError as error:
            self.end(error)

    def _deliver(self, payload: bytes) -> None:
        feed = self._feed
        if feed is None:
            return
        try:
            feed.receive(payload)
        except StatusError as error:
            self.end(error)
        except Exception as error:
            self.connection.crash(self, error)

    def _finish(self) -> None:
        if self.reader.inside_message:
            self.end(StatusError(Code.INTERNAL, "unexpected EOF"))
        else:
            self.connection.finish(self)

    def release(self) -> None:
        super().release()
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.ended()
