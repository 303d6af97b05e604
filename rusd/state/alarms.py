"""Alarms: replicated flags that a member is out of space or corrupt."""

from __future__ import annotations

from collections.abc import Iterable

from etcdpb import rpc_pb2

NOSPACE = rpc_pb2.NOSPACE
CORRUPT = rpc_pb2.CORRUPT


def alarm_name(alarm: int) -> str:
    """As etcd writes an alarm's type: its name, or the number of one that has none."""
    names = rpc_pb2.AlarmType.values()
    return rpc_pb2.AlarmType.keys()[names.index(alarm)] if alarm in names else str(alarm)


class Alarms:
    """The active alarms, as (member id, alarm type) pairs."""

    def __init__(self) -> None:
        self._active: set[tuple[int, int]] = set()
        self.nospace = False
        self.corrupt = False

    def activate(self, member: int, alarm: int) -> bool:
        """Raise an alarm.  Says whether there is one to show: type NONE is no alarm."""
        if alarm == rpc_pb2.NONE:
            return False
        self._active.add((member, alarm))
        self._summarise()
        return True

    def deactivate(self, member: int, alarm: int) -> bool:
        """Disarm an alarm; says whether it was active."""
        if (member, alarm) not in self._active:
            return False
        self._active.remove((member, alarm))
        self._summarise()
        return True

    def active(self, alarm: int = 0) -> list[tuple[int, int]]:
        """Active alarms of one type, or of all types for 0, in a fixed order."""
        return sorted(pair for pair in self._active if alarm in (rpc_pb2.NONE, pair[1]))

    def load(self, active: Iterable[tuple[int, int]]) -> None:
        """Replace everything, from a snapshot."""
        self._active = set(active)
        self._summarise()

    def _summarise(self) -> None:
        kinds = {alarm for _, alarm in self._active}
        self.nospace = NOSPACE in kinds
        self.corrupt = CORRUPT in kinds
