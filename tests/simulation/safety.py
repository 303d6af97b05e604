"""The safety properties, checked at every step and in time that does not grow with the log.

Each check looks at what is new: an entry appended, a commit index that moved, a
message that leaves, an entry applied.  What was seen before is kept here, for the
whole cluster and for its whole life: crashes do not make anybody forget.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rusd.mvcc import Record
from rusd.raft import Configuration, Entry, EntryType, Log, Message, MessageType, Role, decode_configuration
from tests.simulation import properties
from tests.simulation.model import Change, Model, Outcome, change_of
from tests.simulation.properties import Violation

if TYPE_CHECKING:
    from tests.simulation.coverage import Coverage
    from tests.simulation.durable import Durable
    from tests.simulation.process import Process

_REPLIES = frozenset({MessageType.VOTE_RESPONSE, MessageType.APPEND_RESPONSE, MessageType.HEARTBEAT_RESPONSE})

FOUNDERS_TERM = 1
"""Of the entries that every founder begins with, which are committed by that."""


class ObservedLog(Log):
    """A log that tells of what is appended to it and deleted from it."""

    def __init__(
        self, process: Process, entries: Sequence[Entry], base_index: int, base_term: int, limit: int
    ):
        super().__init__(entries, base_index=base_index, base_term=base_term, max_entries=limit)
        self._process = process
        before = base_term
        for entry in entries:
            process.world.safety.appended(process, entry, before)
            before = entry.term

    def append(self, entry: Entry) -> None:
        self._process.world.safety.appended(self._process, entry, self.last_term)
        super().append(entry)

    def truncate(self, index: int) -> None:
        if index <= self.last_index:
            self._process.world.safety.truncated(self._process, index)
        super().truncate(index)


class Safety:
    """Everything that was ever appended, committed, led and applied in one cluster."""

    def __init__(self, model: Model, coverage: Coverage) -> None:
        self.model = model
        self.coverage = coverage
        self.on_elected: Callable[[], None] = lambda: None
        self.on_revoked: Callable[[int, bool], None] = lambda _lease, _expired: None
        self.leaders: dict[int, int] = {}
        self.committed: list[tuple[int, int]] = [
            (0, 0)
        ]  # by index: its term, and in which term it was committed
        self._entries: dict[tuple[int, int], tuple[Entry, int]] = {}  # and the term of the one before
        self._applied: list[Entry | None] = [None]
        self._settled_terms: set[int] = set()  # whose leader has committed an entry of its own
        self._configurations: dict[int, Configuration] = {}  # committed ones, by index

    # -- the log --------------------------------------------------------------------

    def appended(self, process: Process, entry: Entry, before: int) -> None:
        """Log matching, by induction: equal entries are equal, and so are those before them."""
        known = self._entries.get((entry.index, entry.term))
        if known is None:
            if entry.type == EntryType.CONFIGURATION and entry.term != FOUNDERS_TERM:
                self._configured(process, entry)
            self._entries[entry.index, entry.term] = (entry, before)
            return
        if known[0] is not entry and known[0] != entry:
            raise Violation(properties.LOG_MATCHING, f"{process}: {entry}, elsewhere {known[0]}")
        if known[1] != before:
            text = f"{process}: before entry {entry.index} of term {entry.term} stands one of term {before}"
            raise Violation(properties.LOG_MATCHING, f"{text}, elsewhere one of term {known[1]}")

    def truncated(self, process: Process, index: int) -> None:
        """What was acknowledged to the leader of this term is not deleted in this term."""
        self.coverage["truncations"] += 1
        process.world.trace.note(process, f"deletes entries {index} to {process.node.log.last_index}")
        term, acknowledged = process.acknowledged
        if term == process.node.term and index <= acknowledged:
            text = (
                f"{process} deletes entry {index}, but has acknowledged up to {acknowledged} in term {term}"
            )
            raise Violation(properties.ACKNOWLEDGED, text)

    # -- after each step --------------------------------------------------------------

    def observe(self, process: Process) -> None:
        """Look at one server after it did something."""
        node = process.node
        if node.role is Role.LEADER and self.leaders.get(node.term) != node.id:
            self._elected(process)
        if node.commit_index > process.seen_commit:
            self._commits(process)

    def _elected(self, process: Process) -> None:
        node = process.node
        if node.term in self.leaders:
            text = f"{self.leaders[node.term]} and {node.id} both lead term {node.term}"
            raise Violation(properties.ELECTION_SAFETY, text)
        self.leaders[node.term] = node.id
        self.coverage["elections"] += 1
        process.world.trace.note(process, f"leads term {node.term}")
        self.on_elected()
        index = len(self.committed) - 1
        while self.committed[index][1] >= node.term:
            index -= 1
        self._require_complete(process, index)
        voters = node.configuration.voters | node.configuration_at(node.commit_index).voters
        if node.id not in voters:
            raise Violation(properties.LEADER_VOTES, f"{process} leads and is none of {sorted(voters)}")

    def _require_complete(self, process: Process, index: int) -> None:
        node, term = process.node, self.committed[index][0]
        if index > node.log.base_index and node.log.term(index) != term:
            text = (
                f"{process} leads term {node.term} without entry {index} of term {term}, which is committed"
            )
            raise Violation(properties.LEADER_COMPLETENESS, text)

    def _commits(self, process: Process) -> None:
        node, log = process.node, process.node.log
        first = max(process.seen_commit, log.base_index) + 1
        process.seen_commit = node.commit_index
        for index in range(first, node.commit_index + 1):
            term = log.term(index)
            assert term is not None
            if index < len(self.committed):
                if self.committed[index][0] != term:
                    text = f"{process} commits entry {index} of term {term}"
                    raise Violation(
                        properties.STATE_MACHINE_SAFETY, f"{text}, committed is {self.committed[index][0]}'s"
                    )
                continue
            self.committed.append((term, node.term))
            process.world.trace.note(process, f"commits {index}@{term}, the first to do so")
            self._first_commit(process, index, term)
        for other in process.world.processes():
            leader = other.node
            if leader.role is Role.LEADER and leader.term > node.term:
                self._require_complete(other, node.commit_index)

    def _first_commit(self, process: Process, index: int, term: int) -> None:
        entry = self._entries[index, term][0]
        if term == process.node.term:
            self._settled_terms.add(term)
        if entry.type == EntryType.CONFIGURATION:
            self._configurations[index] = decode_configuration(entry.data)[0]
            if entry.term != FOUNDERS_TERM:
                self.coverage["configuration changes"] += 1
                self.coverage["clusters of one"] += len(self._configurations[index].voters) == 1
        if term == FOUNDERS_TERM:
            return
        hosts = process.world.hosts
        voters = process.node.configuration.voters
        holders = [voter for voter in sorted(voters) if hosts[voter].durable.holds(index, term)]
        if 2 * len(holders) <= len(voters):
            text = f"{process} commits entry {index} of term {term}"
            raise Violation(properties.QUORUM, f"{text}, only {holders} of {sorted(voters)} hold it")

    def _configured(self, process: Process, entry: Entry) -> None:
        """A leader appends a configuration, which must overlap with what may be in force elsewhere."""
        if entry.term not in self._settled_terms:
            text = f"{process} goes to a new configuration, nothing of its term {entry.term} is committed"
            raise Violation(properties.ONE_CHANGE, text)
        # A leader that is outdated and does not know it yet is judged by what it can know.
        known = [index for index in self._configurations if self.committed[index][1] <= entry.term]
        new, old = decode_configuration(entry.data)[0].voters, self._configurations[max(known)].voters
        if len(new ^ old) > 1:
            text = f"{process} goes to voters {sorted(new)}, committed are {sorted(old)}"
            raise Violation(properties.ONE_CHANGE, text)

    # -- what leaves ------------------------------------------------------------------

    def sending(self, process: Process, message: Message) -> None:
        """Whatever a message promises is on this server's stable storage."""
        durable = process.host.durable
        kind, term = message.type, message.term
        if kind in _REPLIES or kind is MessageType.REQUEST_VOTE:
            self._require_term(process, durable, message)
        if kind is MessageType.VOTE_RESPONSE and not message.reject and durable.term == term:
            self._require_vote(process, durable, message.to)
        if kind is MessageType.REQUEST_VOTE and durable.term == term:
            self._require_vote(process, durable, process.host.id)
        if kind is MessageType.APPEND_RESPONSE and not message.reject and process.node.term == term:
            if durable.last_index < message.index:
                text = f"{process} acknowledges {message.index}, durable is {durable}"
                raise Violation(properties.STABLE_STORAGE, text)
            known, index = process.acknowledged
            process.acknowledged = (term, max(message.index, index) if known == term else message.index)

    def _require_term(self, process: Process, durable: Durable, message: Message) -> None:
        if durable.term < message.term:
            text = f"{process} sends {message.type.name} in term {message.term}, durable is {durable}"
            raise Violation(properties.STABLE_STORAGE, text)

    def _require_vote(self, process: Process, durable: Durable, candidate: int) -> None:
        if durable.vote != candidate:
            text = f"{process} votes for {candidate} in term {durable.term}, durable is {durable}"
            raise Violation(properties.STABLE_STORAGE, text)

    # -- what is applied ----------------------------------------------------------------

    def handed_out(self, process: Process, entries: Sequence[Entry]) -> None:
        """What Raft gives out to be applied is committed, durable here, and follows what went before."""
        for entry in entries:
            if entry.index != process.handed_index + 1:
                text = f"{process} is given {entry.index} to apply after {process.handed_index}"
                raise Violation(properties.APPLIED, text)
            process.handed_index = entry.index
            if entry.index > process.node.commit_index:
                raise Violation(
                    properties.APPLIED, f"{process} is given {entry.index}, not committed, to apply"
                )
            if not process.host.durable.holds(entry.index, entry.term):
                text = f"{process} is given {entry.index} of term {entry.term} to apply"
                raise Violation(properties.APPLIED, f"{text}, durable is {process.host.durable}")

    def applied(
        self,
        process: Process,
        entries: Sequence[Entry],
        outcomes: list[Outcome],
        published: list[tuple[int, Sequence[Record]]],
    ) -> None:
        """One server has applied ``entries``, with these outcomes, and published these revisions."""
        model = self.model
        for entry in entries:
            if entry.index != process.state_index + 1:
                text = f"{process} applies {entry.index} to the state of {process.state_index}"
                raise Violation(properties.APPLIED, text)
            process.state_index = entry.index
            if entry.index < len(self._applied):
                if self._applied[entry.index] != entry:
                    text = f"{process} applies {entry}, elsewhere {self._applied[entry.index]} was"
                    raise Violation(properties.STATE_MACHINE_SAFETY, text)
            else:
                self.first_seen(entry)
            expected = model.outcomes[entry.index]
            if expected is not None:
                self._compare(process, entry, expected, outcomes.pop(0) if outcomes else ("nothing",))
            if model.revision_at[entry.index] > model.revision_at[entry.index - 1]:
                self._compare_events(process, model.revision_at[entry.index], published)
        if outcomes or published:
            text = f"{process} did more than the log says: {outcomes}, {published}"
            raise Violation(properties.STATE_MACHINE_SAFETY, text)

    def cut_short(self, process: Process, published: Sequence[tuple[int, int, Sequence[Record]]]) -> None:
        """A snapshot takes the place of an entry applied in part: what that has shown by now is right."""
        revision_at = self.model.revision_at
        for index, revision, records in published:
            if revision_at[index] == revision_at[index - 1]:
                text = f"{process} publishes {revision}, although entry {index} changes nothing"
                raise Violation(properties.STATE_MACHINE_SAFETY, text)
            self._compare_events(process, revision_at[index], [(revision, records)])

    def first_seen(self, entry: Entry) -> None:
        """Something of what ``entry``, the next one, does can be seen: tell the model, if it doesn't know."""
        if entry.index < len(self._applied):
            return
        self._applied.append(entry)
        self.model.apply(entry)
        if self.model.revoked is not None:
            self.on_revoked(*self.model.revoked)

    def _compare(self, process: Process, entry: Entry, expected: Outcome, outcome: Outcome) -> None:
        if outcome != expected:
            text = f"{process} applies entry {entry.index} with {outcome}, it should be {expected}"
            raise Violation(properties.STATE_MACHINE_SAFETY, text)

    def _compare_events(
        self, process: Process, revision: int, published: list[tuple[int, Sequence[Record]]]
    ) -> None:
        found: tuple[int, list[Change]] = (0, [])
        if published:
            number, records = published.pop(0)
            found = (number, [change_of(record) for record in records])
        if found != (revision, self.model.revisions[revision]):
            text = f"{process} publishes {found}, it should be {revision}: {self.model.revisions[revision]}"
            raise Violation(properties.STATE_MACHINE_SAFETY, text)

    def installed(self, process: Process, index: int) -> None:
        """A server's whole state was replaced, or loaded after a restart: it is what the log made of it."""
        model, machine = self.model, process.machine
        if index not in model.revision_at:
            raise Violation(
                properties.STATE_MACHINE_SAFETY, f"{process} has a snapshot of {index}, not applied"
            )
        revision, compacted = model.revision_at[index], model.compacted_at[index]
        store = machine.store
        found = [change_of(record) for record in store.range(b"\0", b"\0").records]
        expected = model.range(b"\0", b"\0", revision)
        states = (store.current_revision, store.compact_revision, found)
        if states != (revision, compacted, expected):
            text = f"{process} loads {states} at {index}, it should be {(revision, compacted, expected)}"
            raise Violation(properties.STATE_MACHINE_SAFETY, text)
        process.state_index = index
        process.world.trace.note(process, f"has the state of entry {index}")
