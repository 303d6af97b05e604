"""HTTP requests and answers, as those see them who say what paths mean."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

import attrs

Header = tuple[bytes, bytes]


@attrs.frozen
class HttpRequest:
    """A whole request.  ``target`` is path and query as sent; header names are lower-case."""

    method: str
    target: str
    headers: Sequence[Header]
    body: bytes
    peer: str

    def header(self, name: bytes) -> bytes | None:
        """The first value of the header ``name`` (lower-case)."""
        return next((value for key, value in self.headers if key == name), None)


@attrs.frozen
class HttpResponse:
    """An answer.  A body that is an async generator is sent piece by piece, as it comes."""

    status: int
    headers: Sequence[Header] = ()
    body: bytes | AsyncGenerator[bytes, None] = b""


HttpHandler = Callable[[HttpRequest], Awaitable[HttpResponse]]
