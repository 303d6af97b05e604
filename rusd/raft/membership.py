"""Who takes part, and how that changes: one server at a time (thesis chapter 4).

Adding or removing a single voter keeps every majority of the old configuration
overlapping with every majority of the new one, so no joint phase is needed.
The price is three rules, each a method here: a configuration is in effect as
soon as it is *appended* (and no longer when it is truncated away), only one
change is under way at a time, and a leader proposes one only after it has
committed an entry of its own term.

A configuration entry carries the whole new configuration, not the change, so
that the latest one in a log says everything.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from enum import Enum

import attrs

from rusd.raft.errors import ChangeRefused, InvariantViolation
from rusd.raft.log import Log
from rusd.raft.messages import Configuration, Entry, EntryType, HardState
from rusd.raft.state import NOBODY, Options, State

# -- changes ------------------------------------------------------------------


class ChangeKind(Enum):
    """The single steps there are.  Adding a learner as a voter promotes it."""

    ADD_VOTER = "add voter"
    ADD_LEARNER = "add learner"
    REMOVE = "remove"


@attrs.frozen
class Change:
    """One step from a configuration to the next."""

    kind: ChangeKind
    member: int


def changed(configuration: Configuration, change: Change) -> Configuration:
    """The configuration after ``change``.

    Raises :class:`ChangeRefused` if it would change nothing, demote a voter
    or leave nobody to vote.
    """
    voters, learners, member = configuration.voters, configuration.learners, change.member
    if member == NOBODY:
        raise ChangeRefused("0 is no member's id")
    if change.kind is ChangeKind.REMOVE:
        if member not in configuration.members:
            raise ChangeRefused(f"{member:x} is not a member")
        if voters == {member}:
            raise ChangeRefused("the last voter cannot be removed")
        return Configuration(voters - {member}, learners - {member})
    if member in voters:
        raise ChangeRefused(f"{member:x} is a voter already")
    if change.kind is ChangeKind.ADD_VOTER:
        return Configuration(voters | {member}, learners - {member})
    if member in learners:
        raise ChangeRefused(f"{member:x} is a learner already")
    return Configuration(voters, learners | {member})


# -- configuration entries ------------------------------------------------------

_COUNTS = struct.Struct(">II")


def encode_configuration(configuration: Configuration, context: bytes = b"") -> bytes:
    """The data of a configuration entry: two counts, the ids (64 bits each, ascending), ``context``."""
    voters, learners = sorted(configuration.voters), sorted(configuration.learners)
    ids = struct.pack(f">{len(voters) + len(learners)}Q", *voters, *learners)
    return _COUNTS.pack(len(voters), len(learners)) + ids + context


def decode_configuration(data: bytes) -> tuple[Configuration, bytes]:
    """The configuration and the context in an entry's data.

    Raises :class:`ValueError` for what :func:`encode_configuration` does not make: ids in another order, one
    that is nobody's, or a voter that is a learner too.
    """
    if len(data) < _COUNTS.size:
        raise ValueError("configuration entry too short")
    voters, learners = _COUNTS.unpack_from(data)
    end = _COUNTS.size + 8 * (voters + learners)
    if len(data) < end:
        raise ValueError("configuration entry too short")
    ids = struct.unpack_from(f">{voters + learners}Q", data, _COUNTS.size)
    configuration = Configuration(frozenset(ids[:voters]), frozenset(ids[voters:]))
    in_order = (*sorted(configuration.voters), *sorted(configuration.learners))
    if ids != in_order or NOBODY in ids or configuration.voters & configuration.learners:
        raise ValueError("configuration entry with ids in disorder")
    return configuration, data[end:]


def bootstrap(members: Sequence[tuple[int, bytes]]) -> tuple[HardState, list[Entry]]:
    """The first state of a new cluster whose voters are ``members``, as (id, context) pairs.

    One configuration entry per member, at term 1 and already committed, as etcd
    writes them: every initial member starts with the same entries, and the first
    leader has term 2.  The owner makes both durable before it starts the node.
    """
    if not members or len({member for member, _ in members}) != len(members):
        raise ValueError("a cluster starts with at least one member, each named once")
    entries: list[Entry] = []
    configuration = Configuration()
    for index, (member, context) in enumerate(members, 1):
        configuration = changed(configuration, Change(ChangeKind.ADD_VOTER, member))
        data = encode_configuration(configuration, context)
        entries.append(Entry(1, index, EntryType.CONFIGURATION, data))
    return HardState(term=1, vote=NOBODY, commit=len(entries)), entries


# -- the configuration in effect --------------------------------------------------


class Membership(State):
    """Adds the configuration, which follows the log.

    ``configuration`` given at the start is the one at the log's base; those in
    the log's entries come on top, committed or not.
    """

    def __init__(
        self,
        id: int,  # noqa: A002
        log: Log,
        hard_state: HardState,
        configuration: Configuration,
        *,
        applied: int,
        random: random.Random,
        options: Options,
    ) -> None:
        super().__init__(id, log, hard_state, applied=applied, random=random, options=options)
        # (index, configuration), ascending; the first stands at or below the base.
        self._configurations: list[tuple[int, Configuration]] = [(log.base_index, configuration)]
        self._adopt_configurations(log.slice(log.base_index + 1, log.last_index))

    @property
    def configuration(self) -> Configuration:
        """The one in effect: thesis 4.1, a server "always uses the latest configuration in its log"."""
        return self._configurations[-1][1]

    @property
    def configuration_index(self) -> int:
        """Where the configuration in effect stands in the log, or at most the log's base."""
        return self._configurations[-1][0]

    def configurations_after(self, index: int) -> list[int]:
        """Where in the log the configurations above ``index`` stand, ascending."""
        return [position for position, _ in self._configurations if position > index]

    def configuration_at(self, index: int) -> Configuration:
        """The configuration as of ``index``, for a snapshot there.

        Raises :class:`LookupError` if ``index`` lies below what the log remembers.
        """
        for position, configuration in reversed(self._configurations):
            if position <= index:
                return configuration
        raise LookupError(f"the configuration at {index} is no longer known")

    def configuration_changed(self) -> None:
        """Another configuration is in effect: each chapter adds what follows from it."""

    # -- the rules --------------------------------------------------------------

    def may_change_configuration(self) -> bool:
        """Thesis 4.1: one change at a time, and only after committing in the own term.

        A second change before the first is committed could form two majorities
        that do not meet; so could the first change of a leader that does not yet
        know whether its predecessor's change is committed.  The entry of its own
        term settles that.  (The latter is not in the thesis: Ongaro added it in 2015,
        on the raft-dev list, as "bug in single-server membership changes".)
        """
        latest, _ = self._configurations[-1]
        return latest <= self.commit_index and self.has_committed_in_own_term()

    def has_committed_in_own_term(self) -> bool:
        """Whether the newest committed entry is of the current term; if so, everything before it is, too."""
        return self.log.term(self.commit_index) == self.term

    def is_electable(self) -> bool:
        """4.2.2: voters may lead, and whoever is being removed, until its removal is committed.

        It may hold the only copy of the entry that removes it: the others cannot
        be elected without that entry, and this server's vote counts for them but
        not for itself.  Only it can get the entry to them.
        """
        latest, configuration = self._configurations[-1]
        if self.id in configuration.voters:
            return True
        return latest > self.commit_index and self.id in self._configurations[-2][1].voters

    # -- following the log --------------------------------------------------------

    def append_entries(self, entries: Sequence[Entry]) -> None:
        """Append ``entries`` and put the configurations among them in effect, committed or not (4.1)."""
        for entry in entries:
            if entry.index != self.log.last_index + 1:
                raise InvariantViolation(f"entry {entry.index} cannot follow {self.log.last_index}")
            self.log.append(entry)
        self._adopt_configurations(entries)

    def delete_from(self, index: int) -> None:
        """Delete entries from ``index`` on; a configuration among them is rolled back (4.1)."""
        if index <= self.commit_index:
            raise InvariantViolation(f"asked to delete entry {index}, but {self.commit_index} is committed")
        self.log.truncate(index)
        before = len(self._configurations)
        while self._configurations[-1][0] >= index:
            self._configurations.pop()
        if len(self._configurations) != before:
            self.configuration_changed()

    def trim_log(self, through: int) -> None:
        """Let go of entries up to ``through`` that the log has no room for."""
        if not self.log.trim(through):
            return
        later = [item for item in self._configurations if item[0] > self.log.base_index]
        at_base = self.configuration_at(self.log.base_index)
        self._configurations = [(self.log.base_index, at_base), *later]

    def replace_log(self, index: int, term: int, configuration: Configuration) -> None:
        """A snapshot up to ``index`` takes the place of log and configuration (§7)."""
        self.log.reset(index, term)
        self._configurations = [(index, configuration)]
        self.configuration_changed()

    def _adopt_configurations(self, entries: Sequence[Entry]) -> None:
        adopted = False
        for entry in entries:
            if entry.type == EntryType.CONFIGURATION:
                configuration, _ = decode_configuration(entry.data)
                self._configurations.append((entry.index, configuration))
                adopted = True
        if adopted:
            self.configuration_changed()
