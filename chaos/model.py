"""etcd's key space as a value that can be stepped: the specification that histories are held against.

Only what clients can see is here: keys, values, the three numbers of each key, and leases as far as keys hang
on them.  One transaction goes in, the events and answers that etcd owes for it come out.  Nothing here knows
of processes, sockets or time; the rules are those of etcd's API documentation.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence

import attrs
from sortedcontainers import SortedDict

WHOLE = "\0"
"""As key and as end of a range: every key there is."""

PUT, DELETE = "PUT", "DELETE"

LONG_VALUE = 8000
"""Characters from which on a value is kept in a history only by what tells it from others."""


@attrs.frozen
class KeyValue:
    """A key as a client sees it at one revision."""

    key: str
    value: str = ""
    create: int = 0
    mod: int = 0
    version: int = 0
    lease: int = 0


@attrs.frozen
class Event:
    """One change; a deletion's ``kv`` has only the key and the revision."""

    kind: str
    kv: KeyValue
    previous: KeyValue | None = None


# -- requests -----------------------------------------------------------------


@attrs.frozen
class Put:
    """Set ``key``."""

    key: str
    value: str
    lease: int = 0


@attrs.frozen
class Delete:
    """Delete ``key``, or the range up to ``end``."""

    key: str
    end: str = ""


@attrs.frozen
class Range:
    """Read ``key``, or the range up to ``end``; a serializable one may be stale."""

    key: str
    end: str = ""
    serializable: bool = False


@attrs.frozen
class Compare:
    """A condition on ``key``: its ``target`` (value, version, create, mod or lease) against ``operand``."""

    key: str
    target: str
    relation: str
    operand: int | str


Action = Put | Delete | Range


@attrs.frozen
class Txn:
    """``success`` if all ``compares`` hold, else ``failure``; in one step."""

    compares: tuple[Compare, ...] = ()
    success: tuple[Action, ...] = ()
    failure: tuple[Action, ...] = ()


@attrs.frozen
class Grant:
    """Make a lease of ``ttl`` seconds."""

    lease: int
    ttl: int


@attrs.frozen
class Revoke:
    """End a lease; its keys go with it."""

    lease: int


@attrs.frozen
class KeepAlive:
    """Renew a lease; the answer's ``ttl`` is 0 if it is gone."""

    lease: int


@attrs.frozen
class Lock:
    """Wait for the lock ``name``; the answer's ``key`` is held as long as it exists."""

    name: str
    lease: int


@attrs.frozen
class Unlock:
    """Give a lock's ``key`` back."""

    key: str


@attrs.frozen
class Compact:
    """Forget history before ``revision``."""

    revision: int


KeyRequest = Put | Delete | Range | Txn
Request = KeyRequest | Grant | Revoke | KeepAlive | Lock | Unlock | Compact

Result = None | int | tuple[KeyValue, ...]
"""What one action answers: nothing for a Put, how many were deleted, or what was found."""


@attrs.frozen
class Answer:
    """What a request was answered with.  ``revision`` is the one in the answer's header."""

    revision: int
    succeeded: bool = True
    results: tuple[Result, ...] = ()
    ttl: int = 0
    key: str = ""


def shortened(value: str) -> str:
    """A long value as its beginning, length and checksum, which is enough to tell it from others."""
    if len(value) <= LONG_VALUE:
        return value
    return f"{value[:40]}…{len(value)}:{zlib.crc32(value.encode()):08x}"


def as_txn(request: KeyRequest) -> Txn:
    """``request`` in the one form that the store runs."""
    return request if isinstance(request, Txn) else Txn(success=(request,))


def deletes(request: KeyRequest) -> bool:
    """Whether ``request`` may delete."""
    txn = as_txn(request)
    return any(isinstance(action, Delete) for action in txn.success + txn.failure)


def puts(request: KeyRequest) -> Iterable[Put]:
    """Every Put that ``request`` may carry out."""
    txn = as_txn(request)
    return (action for action in txn.success + txn.failure if isinstance(action, Put))


def in_range(key: str, start: str, end: str) -> bool:
    """Whether ``key`` belongs to the range that etcd writes as ``start``, ``end``."""
    if not end:
        return key == start
    return key >= start and (end == WHOLE or key < end)


def prefix_end(prefix: str) -> str:
    """The end of the range of all keys that begin with ``prefix``."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


# -- the store --------------------------------------------------------------------


@attrs.frozen
class Step:
    """What one transaction did and has to answer."""

    events: tuple[Event, ...]
    succeeded: bool
    results: tuple[Result, ...]


class Store:
    """All keys at one revision."""

    def __init__(self) -> None:
        self.keys: SortedDict[str, KeyValue] = SortedDict()

    def run(self, txn: Txn, revision: int) -> Step:
        """Carry ``txn`` out; if it changes something, as ``revision``.  :meth:`undo` takes it back."""
        succeeded = all(self._holds(compare) for compare in txn.compares)
        events: list[Event] = []
        results = tuple(
            self._act(action, revision, events) for action in (txn.success if succeeded else txn.failure)
        )
        return Step(tuple(events), succeeded, results)

    def apply(self, events: Sequence[Event]) -> None:
        """Take changes as they were reported."""
        for event in events:
            if event.kind == PUT:
                self.keys[event.kv.key] = event.kv
            else:
                self.keys.pop(event.kv.key, None)

    def undo(self, events: Sequence[Event]) -> None:
        """Take back what :meth:`run` has just done."""
        for event in reversed(events):
            if event.previous is None:
                del self.keys[event.kv.key]
            else:
                self.keys[event.kv.key] = event.previous

    def select(self, key: str, end: str) -> list[KeyValue]:
        """The keys of a range, in order."""
        if not end:
            found = self.keys.get(key)
            return [] if found is None else [found]
        last = None if end == WHOLE else end
        return [self.keys[one] for one in self.keys.irange(key, last, (True, False))]

    def attached(self, lease: int) -> list[str]:
        """The keys that go with ``lease``, in order."""
        return [key for key, kv in self.keys.items() if kv.lease == lease]

    def _holds(self, compare: Compare) -> bool:
        found = self.keys.get(compare.key)
        if found is None:
            if compare.target == "value":
                return False  # etcd: no value compares with that of a missing key
            found = KeyValue(compare.key)
        actual = getattr(found, compare.target)
        match compare.relation:
            case "=":
                return bool(actual == compare.operand)
            case "!=":
                return bool(actual != compare.operand)
            case ">":
                return bool(actual > compare.operand)
            case "<":
                return bool(actual < compare.operand)
        raise ValueError(f"no such relation: {compare.relation!r}")

    def _act(self, action: Action, revision: int, events: list[Event]) -> Result:
        match action:
            case Range():
                return tuple(self.select(action.key, action.end))
            case Put():
                self._put(action, revision, events)
                return None
            case Delete():
                doomed = self.select(action.key, action.end)
                for kv in doomed:
                    del self.keys[kv.key]
                    events.append(Event(DELETE, KeyValue(kv.key, mod=revision), kv))
                return len(doomed)

    def _put(self, put: Put, revision: int, events: list[Event]) -> None:
        before = self.keys.get(put.key)
        kv = KeyValue(
            put.key,
            put.value,
            create=revision if before is None else before.create,
            mod=revision,
            version=1 if before is None else before.version + 1,
            lease=put.lease,
        )
        self.keys[put.key] = kv
        events.append(Event(PUT, kv, before))
