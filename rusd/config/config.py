"""The configuration of one server: every flag of etcd 3.6 and rusd's own, in one value."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import attrs

from rusd.config.flags import Flag, flags_of
from rusd.config.gates import enabled_gates
from rusd.config.member import ClusteringFlags, MemberFlags
from rusd.config.operation import MonitoringFlags, RusdFlags, TuningFlags
from rusd.config.security import AuthFlags, SecurityFlags
from rusd.durations import NANOSECONDS_PER_SECOND, parse_duration

IN_MEMORY = ":memory:"
SECONDS_PER_HOUR = 3600

SECTIONS = (
    MemberFlags,
    ClusteringFlags,
    SecurityFlags,
    AuthFlags,
    MonitoringFlags,
    TuningFlags,
    RusdFlags,
)


class Retention(NamedTuple):
    """How much history automatic compaction keeps; both 0 when it is off."""

    seconds: float = 0.0
    revisions: int = 0


# Not slotted, unlike rusd's other values: slots and several base classes exclude each other, and
# there is one of these in a process.
@attrs.frozen(slots=False, kw_only=True)
class Config(MemberFlags, ClusteringFlags, SecurityFlags, AuthFlags, MonitoringFlags, TuningFlags, RusdFlags):
    """All settings of a server, one field per flag, dashes turned into underscores.

    Durations are seconds, but ``heartbeat_interval`` and ``election_timeout`` are milliseconds and
    ``auto_compaction_retention`` is text, as in the flags.  ``Config()`` is etcd's default.
    """

    explicit: frozenset[str] = frozenset()
    """The names of the flags that were given, rather than left at their default."""

    @property
    def directory(self) -> str:
        """The data directory, also when none was given."""
        return self.data_dir or f"{self.name}.etcd"

    @property
    def in_memory(self) -> bool:
        """Whether nothing is written to disk."""
        return self.data_dir == IN_MEMORY

    @property
    def election_ticks(self) -> int:
        """The election time-out in heartbeats."""
        return self.election_timeout // self.heartbeat_interval

    @property
    def quota_bytes(self) -> int | None:
        """The size at which NOSPACE is raised; None for no limit."""
        return None if self.quota_backend_bytes < 0 else self.quota_backend_bytes

    @property
    def enabled_features(self) -> frozenset[str]:
        """The names of the feature gates that are on."""
        return enabled_gates(self.feature_gates)

    @property
    def compaction_retention(self) -> Retention:
        """What ``auto_compaction_mode`` and ``-retention`` say together.

        Raises :class:`ValueError` if the retention is no number and no duration.
        """
        text = self.auto_compaction_retention
        by_revision = self.auto_compaction_mode == "revision"
        if text.isascii() and text.lstrip("+").isdigit():
            count = int(text)
            return Retention(revisions=count) if by_revision else Retention(seconds=count * SECONDS_PER_HOUR)
        try:
            nanoseconds = parse_duration(text)
        except ValueError as error:
            raise ValueError(f"error parsing CompactionRetention: {error}") from None
        if nanoseconds < 0:
            raise ValueError(f'error parsing CompactionRetention: negative duration "{text}"')
        # A duration in revision mode is a count of nanoseconds, in etcd and so here.
        return (
            Retention(revisions=nanoseconds)
            if by_revision
            else Retention(seconds=nanoseconds / NANOSECONDS_PER_SECOND)
        )


FLAGS: Mapping[str, Flag] = MappingProxyType(
    {name: flag for section in SECTIONS for name, flag in flags_of(section).items()}
)
"""Every flag that is a setting, by name, in the order of the sections."""
