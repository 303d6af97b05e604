"""Answers that are too large for one turn: put together from segments, and sent in parts.

A small answer is one join of bytes (:mod:`rusd.services.encoding`).  A large one is a
list of segments: bytes, and runs of records, whose bytes are collected only when their
turn to be sent comes, so that the answer never stands in memory as a whole.  gRPC wants
to know the size before the first byte; that is why runs are measured first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import trio

from rusd.grpc import AnswerParts, LongAnswer
from rusd.mvcc import Record
from rusd.steps import PAGE, Steps, Turn
from rusd.wire import varint

if TYPE_CHECKING:
    from rusd.longwork import LongWork

PART_BYTES = 256 * 1024
"""Sent at a time, about."""

_MEASURE_COST = 1 / 8
"""Adding a length up, in records."""


class _Run:
    """Records in a row."""

    __slots__ = ("records", "tag")

    def __init__(self, records: Sequence[Record], tag: bytes) -> None:
        self.records = records
        self.tag = tag  # instead of the one that a record's field has; none to leave it as it is

    def pieces(self) -> Iterator[bytes]:
        tag = self.tag
        for record in self.records:
            yield tag + record.field[1:] if tag else record.field


class Segments:
    """A message being put together, and its size so far."""

    def __init__(self) -> None:
        self.size = 0
        self._items: list[bytes | _Run] = []
        self._spent: list[list[Record]] = []  # lists to let go of when all is sent

    def add(self, data: bytes) -> None:
        """Append bytes."""
        self._items.append(data)
        self.size += len(data)

    def add_field(self, tag: bytes, content: Segments) -> None:
        """Append ``content`` as a length-delimited field."""
        self.add(tag + varint(content.size))
        self._items += content._items
        self._spent += content._spent
        self.size += content.size

    def add_records(self, records: Sequence[Record], turn: Turn, tag: bytes = b"") -> Steps[None]:
        """Append the fields of records, with another ``tag`` of one byte if one is given.

        The list must not be used by anybody else: it is emptied in the end.
        """
        for start in range(0, len(records), PAGE):
            self.size += sum([len(record.field) for record in records[start : start + PAGE]])
            turn.left -= PAGE * _MEASURE_COST
            if turn.left <= 0:
                yield
        self._items.append(_Run(records, tag))
        self._spend(records)

    def add_encoded(
        self, records: Sequence[Record], turn: Turn, encode: Callable[[Record], bytes]
    ) -> Steps[None]:
        """Append what ``encode`` makes of records, which should be small: it is made now."""
        for start in range(0, len(records), PAGE):
            self.add(b"".join(map(encode, records[start : start + PAGE])))
            turn.left -= PAGE
            if turn.left <= 0:
                yield
        self._spend(records)

    def _spend(self, records: Sequence[Record]) -> None:
        if isinstance(records, list):
            self._spent.append(records)

    async def send(self, out: AnswerParts, work: LongWork) -> None:
        """Send the message, in turns with other long work."""
        out.begin(self.size)
        parts = self._parts()
        try:
            while True:
                async with work.turn():
                    part = next(parts, None)
                if part is None:
                    return
                await out.send(part)
        finally:
            for records in self._spent:
                work.discard(records)

    def _parts(self) -> Iterator[bytes]:
        collected: list[bytes] = []
        size = 0
        for data in self._pieces():
            collected.append(data)
            size += len(data)
            if size >= PART_BYTES:
                yield b"".join(collected)
                collected.clear()
                size = 0
        if collected:
            yield b"".join(collected)

    def _pieces(self) -> Iterator[bytes]:
        for item in self._items:
            if isinstance(item, bytes):
                yield item
            else:
                yield from item.pieces()


async def collect(answer: LongAnswer) -> bytes:
    """The whole of a long answer, for those inside the server who ask."""
    collected = _Collected()
    await answer.send(collected)
    return b"".join(collected.parts)


class _Collected:
    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def begin(self, size: int) -> None:
        pass

    async def send(self, part: bytes) -> None:
        self.parts.append(part)
        await trio.lowlevel.checkpoint()
