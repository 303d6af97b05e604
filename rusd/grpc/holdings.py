"""How many bytes a server's connection holds for its client; see :mod:`rusd.grpc.budget`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rusd.grpc.budget import GRAIN_BYTES, STREAM_BYTES
from rusd.http2 import Connection

_CROWD: Final = GRAIN_BYTES // STREAM_BYTES


class Holdings:
    """Answers waiting in ``http2``, requests that came in part, and a lump sum for each stream.

    ``grew`` is called each time they have grown by a good piece since they were last weighed.
    """

    __slots__ = ("_grew", "_http2", "_noted", "_partial", "crowd")

    def __init__(self, http2: Connection, grew: Callable[[], None]) -> None:
        self._http2 = http2
        self._grew = grew
        self._partial = 0
        self._noted = 0
        self.crowd = _CROWD
        """With more open streams than these, :meth:`note` is due."""

    def weigh(self) -> int:
        """The bytes held now; growth is counted from here on."""
        streams = self._http2.open_streams
        self.crowd = streams + _CROWD
        self._noted = self._http2.queued_bytes + self._partial + STREAM_BYTES * streams
        return self._noted

    def partial(self, change: int) -> None:
        """What is held of requests has changed by so many bytes."""
        self._partial += change
        if change > 0:
            self.note()

    def queued(self) -> None:
        """A stream has written; whether that could leave at once is another matter."""
        if self._http2.queued_bytes:
            self.note()

    def note(self) -> None:
        """Something has changed."""
        streams = self._http2.open_streams
        weight = self._http2.queued_bytes + self._partial + STREAM_BYTES * streams
        if weight >= self._noted + GRAIN_BYTES or streams > self.crowd:
            self._grew()
