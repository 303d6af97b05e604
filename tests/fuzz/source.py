"""Bytes as a source of decisions.

Every target takes plain bytes, so that anything can drive it: hypothesis, libFuzzer, a file.  Structured
modes read their decisions from those bytes, one or a few octets each, and get zeros once there are no more:
a short input is a short story, not an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Source:
    """Reads decisions from ``data``, front to back."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def more(self) -> bool:
        """Whether anything is left."""
        return self._at < len(self._data)

    def byte(self) -> int:
        """0 to 255."""
        at = self._at
        if at >= len(self._data):
            return 0
        self._at = at + 1
        return self._data[at]

    def short(self) -> int:
        """0 to 65,535."""
        return self.byte() << 8 | self.byte()

    def word(self) -> int:
        """32 bits."""
        return self.short() << 16 | self.short()

    def flag(self) -> bool:
        return bool(self.byte() & 1)

    def pick(self, choices: Sequence[T]) -> T:
        """One of at most 256 ``choices``; the first for a zero."""
        return choices[self.byte() % len(choices)]

    def take(self, length: int) -> bytes:
        """The next ``length`` bytes, or as many as there are."""
        taken = self._data[self._at : self._at + length]
        self._at += len(taken)
        return taken

    def chunk(self) -> bytes:
        """Up to 255 bytes, their length first."""
        return self.take(self.byte())

    def rest(self) -> bytes:
        return self.take(len(self._data))
