"""What a message must be before Raft may see it.

Raft takes messages in any order and any number, but it trusts that a peer
follows the rules: a message that breaks an invariant there means that somebody
has lost data or diverged, and ends the process, as in etcd.  What no
correct peer can have sent does not get that far: it is dropped here.
"""

from __future__ import annotations

from rusd.raft import EntryType, Message, MessageType, decode_configuration

_MOST_TERM = 1 << 62  # terms count elections: a larger one is garbage, and would use them all up


def problem_with(message: Message, me: int) -> str | None:
    """Why ``message`` can't have come from a correct peer of ``me``; None if it can."""
    if message.to != me:
        return f"it is for {message.to:x}"
    if message.from_ in (0, me):
        return f"it says it is from {message.from_:x}"
    if not 0 < message.term < _MOST_TERM:
        return f"its term is {message.term}"
    if message.type is MessageType.INSTALL_SNAPSHOT:
        return _problem_with_snapshot(message)
    return _problem_with_entries(message) if message.entries else None


def _problem_with_snapshot(message: Message) -> str | None:
    snapshot = message.snapshot
    if snapshot is None or snapshot.index < 1 or not 0 < snapshot.term <= message.term:
        return "it has no snapshot that could be installed"
    return None


def _problem_with_entries(message: Message) -> str | None:
    index, term = message.index, message.log_term
    for entry in message.entries:
        index += 1
        if entry.index != index:
            return f"its entry {entry.index} stands where {index} belongs"
        if not term <= entry.term <= message.term:
            return f"its entry {index} is of term {entry.term}"
        term = entry.term
        if entry.type == EntryType.CONFIGURATION:
            try:
                decode_configuration(entry.data)
            except ValueError as error:
                return f"its entry {index} holds no configuration: {error}"
    return None
