"""What a replica needs of its state machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from rusd.state import Kind
    from rusd.steps import Turn


class Machine(Protocol):
    """The replicated state machine: a deterministic function of the log."""

    def apply(self, kind: Kind, request: Message, turn: Turn) -> object:
        """Apply one request and return its result, or the steps that ``turn`` had no room for.

        Raises one of :data:`rusd.state.STATE_ERRORS`, and then nothing has changed; so may the steps.
        """

    def check_configuration(self, data: bytes) -> None:
        """Raise a :class:`rusd.state.MemberError` if that change makes no sense now."""

    def apply_configuration(self, data: bytes) -> object:
        """Apply a committed change of the cluster's configuration."""
