"""What a server's connection needs from the network side, which has the sockets, the tasks and the time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from rusd.http2 import ErrorCode

if TYPE_CHECKING:
    from rusd.grpc.call import LongAnswer
    from rusd.grpc.server_call import ServerCall


class Host(Protocol):
    """The owner of one connection."""

    def monotonic(self) -> float:
        """The time, in seconds."""

    def start(self, call: ServerCall) -> None:
        """Run the task or stream handler of ``call``; call ``finish``, ``answer`` or ``fail`` at its end."""

    def start_long(self, call: ServerCall, answer: LongAnswer) -> None:
        """Have a task send ``answer`` by the connection's ``parts``, then end the call."""

    def wrote(self) -> None:
        """There is something to send, outside the connection's turn."""

    def grew(self) -> None:
        """What the connection's ``held`` weighs has grown by a good piece."""

    def end(self, code: ErrorCode, reason: str) -> None:
        """The client has gone too far: say so in a GOAWAY, call ``lost``, and close soon."""

    def crashed(self, call: ServerCall, error: Exception) -> None:
        """A handler raised what it should not have."""
