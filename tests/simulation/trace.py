"""What happened, in words: a line for each event that a reader of a failure wants to know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rusd.raft import Message, MessageType

if TYPE_CHECKING:
    from collections.abc import Callable

HEARTBEATS = frozenset({MessageType.HEARTBEAT, MessageType.HEARTBEAT_RESPONSE})


class Trace:
    """Collects lines, each with its time; :data:`SILENT` collects none."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self.lines: list[str] = []

    def note(self, who: object, text: str) -> None:
        """Something happened to ``who``."""
        self.lines.append(f"{self._now():>6} ms  {who}: {text}")

    def arrived(self, who: object, thing: object) -> None:
        """Something came over the network."""
        if not isinstance(thing, Message):
            self.note(who, f"← {type(thing).__name__.lower()}")
        elif thing.type not in HEARTBEATS:
            self.note(who, f"← {describe(thing)}")


class Silence(Trace):
    """The same interface, and nothing kept: what most runs have."""

    def note(self, who: object, text: str) -> None:
        pass

    def arrived(self, who: object, thing: object) -> None:
        pass


def describe(message: Message) -> str:
    """A message in a line."""
    name = message.type.name.lower().replace("_", " ")
    parts = [f"{name} from {message.from_}, term {message.term}"]
    match message.type:
        case MessageType.APPEND_ENTRIES:
            terms = ", ".join(f"{entry.index}@{entry.term}" for entry in message.entries)
            parts.append(f"after {message.index}@{message.log_term} [{terms}], commit {message.commit}")
        case MessageType.APPEND_RESPONSE:
            parts.append(f"{'rejects' if message.reject else 'has'} {message.index}")
        case MessageType.VOTE_RESPONSE | MessageType.PRE_VOTE_RESPONSE:
            parts.append("refused" if message.reject else "granted")
        case MessageType.REQUEST_VOTE | MessageType.REQUEST_PRE_VOTE:
            parts.append(f"log ends with {message.index}@{message.log_term}")
    return ", ".join(parts)
