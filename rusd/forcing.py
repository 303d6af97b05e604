"""``--force-new-cluster``: what makes one member of a lost cluster a cluster of its own.

The data stay; the other members leave.  Entries are forged that remove each of
them, as if the cluster had agreed to it, and all of the log counts as committed.
That breaks every promise of consensus: what the others had agreed on and this
member had not heard of is lost.  So it is for the last one of a cluster that is
not coming back.

Unlike etcd, nothing of the log is dropped: its last entries may have been
acknowledged although this member was not told before it stopped, and who
else might know is gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from etcdpb import rusd_pb2
from rusd.raft import (
    Configuration,
    Entry,
    EntryType,
    HardState,
    changed,
    decode_configuration,
    encode_configuration,
)
from rusd.replica.changes import raft_change

if TYPE_CHECKING:
    from rusd.storage.wal import Recovered


def sole_member_entries(member: int, recovered: Recovered) -> tuple[HardState, list[Entry]]:
    """Entries that leave ``member`` alone, and the state in which all of the log is committed."""
    marker, hard_state = recovered.marker, recovered.hard_state
    index, term = (marker.index, marker.term) if marker else (0, 0)
    if recovered.entries:
        index, term = recovered.entries[-1].index, recovered.entries[-1].term
    configuration = _latest_configuration(
        marker.configuration if marker else Configuration(), recovered.entries
    )
    term = max(hard_state.term, term)
    entries: list[Entry] = []
    for change in _changes(member, configuration):
        index += 1
        configuration = changed(configuration, raft_change(change))
        data = encode_configuration(configuration, change.SerializeToString())
        entries.append(Entry(term, index, EntryType.CONFIGURATION, data))
    return HardState(term=term, vote=hard_state.vote, commit=index), entries


def _latest_configuration(base: Configuration, entries: Sequence[Entry]) -> Configuration:
    """The configuration in effect after ``entries`` on top of ``base``."""
    for entry in reversed(entries):
        if entry.type == EntryType.CONFIGURATION:
            return decode_configuration(entry.data)[0]
    return base


def _changes(member: int, configuration: Configuration) -> Iterator[rusd_pb2.ConfigurationChange]:
    """First a vote for ``member``, or the last voter could not leave."""
    if member in configuration.learners:
        yield _change(rusd_pb2.ConfigurationChange.PROMOTE_LEARNER, member)
    elif member not in configuration.voters:
        yield _change(rusd_pb2.ConfigurationChange.ADD_MEMBER, member)
    for other in sorted(configuration.members - {member}):
        yield _change(rusd_pb2.ConfigurationChange.REMOVE_MEMBER, other)


def _change(kind: rusd_pb2.ConfigurationChange.Type, member: int) -> rusd_pb2.ConfigurationChange:
    return rusd_pb2.ConfigurationChange(type=kind, member=rusd_pb2.Member(id=member))
