"""What happened, as a list of records, and the file it is kept in.

One JSON object a line, written as things happen, so that a run that was cut off can still be checked, and
any run again: ``python -m chaos check FILE``.  Times are seconds since the run began, by the monotonic
clock of the one process that records them all; so two records can be ordered without asking whose clock was
right.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, TypeVar

import attrs

from chaos import model
from chaos.model import Answer, Event, Request

OK, FAILED, UNKNOWN = "ok", "failed", "unknown"
"""How an operation ended: carried out; certainly not carried out; perhaps carried out, perhaps later."""


@attrs.frozen
class Run:
    """The head of a history: what was asked for."""

    seed: int
    nodes: int
    duration: float
    faults: tuple[str, ...]
    workloads: tuple[str, ...]
    server: str
    command: str = ""


@attrs.frozen(cache_hash=True)
class Operation:
    """One request of one client.  ``returned`` is None if it had no certain end."""

    id: int
    process: int
    member: int
    workload: str
    request: Request
    invoked: float
    returned: float | None
    outcome: str
    answer: Answer | None = None
    error: str = ""
    note: str = ""


@attrs.frozen
class Watch:
    """One Watch stream of the logical watcher ``watcher``, asking for events from ``start`` on."""

    watcher: str
    session: int
    member: int
    key: str
    end: str
    start: int
    at: float
    previous: bool = False
    drop: tuple[str, ...] = ()


@attrs.frozen
class Delivery:
    """One response of a Watch stream.

    Without events: a promise that all up to ``revision`` were delivered.
    """

    watcher: str
    session: int
    at: float
    revision: int
    events: tuple[Event, ...] = ()


@attrs.frozen
class WatchEnd:
    """A Watch stream's end; ``compacted`` is the revision that etcd says to begin at, or 0."""

    watcher: str
    session: int
    at: float
    reason: str
    compacted: int = 0


@attrs.frozen
class Fault:
    """Something done to the cluster, from ``begun`` to ``ended``."""

    name: str
    begun: float
    ended: float
    detail: str = ""


@attrs.frozen
class Status:
    """What a member said of itself; ``leader`` is an index, or -1."""

    member: int
    at: float
    leader: int
    term: int
    index: int
    revision: int


@attrs.frozen
class Hash:
    """A member's hash of all keys at ``revision``."""

    member: int
    at: float
    revision: int
    hash: int
    compacted: int


@attrs.frozen
class Trouble:
    """Something that the tool itself saw go wrong, as a member that would not start again."""

    at: float
    text: str
    fatal: bool = False


@attrs.frozen
class End:
    """The last record: the revision that every watcher had to reach, and the watchers held to it."""

    at: float
    revision: int
    watchers: tuple[str, ...] = ()


Record = Run | Operation | Watch | Delivery | WatchEnd | Fault | Status | Hash | Trouble | End

_R = TypeVar("_R")


@attrs.define
class History:
    """Every record of a run, in the order in which they were made."""

    records: list[Record] = attrs.Factory(list)

    def of(self, kind: type[_R]) -> list[_R]:
        """All records of one kind."""
        return [record for record in self.records if isinstance(record, kind)]

    @property
    def operations(self) -> list[Operation]:
        return self.of(Operation)


FREEZE_EVERY = 20_000


class Recorder:
    """Takes records while a run goes on; each goes to the file at once."""

    def __init__(self, now: Callable[[], float], file: IO[str] | None = None) -> None:
        self.now = now
        self.history = History()
        self._file = file
        self._operations = 0

    def add(self, record: Record) -> None:
        """Keep ``record``."""
        self.history.records.append(record)
        if len(self.history.records) % FREEZE_EVERY == 0:
            gc.freeze()  # nothing of this is ever garbage: don't walk over it again and again
        if self._file is not None:
            self._file.write(to_line(record))

    def next_id(self) -> int:
        """A number for the next operation."""
        self._operations += 1
        return self._operations


# -- lines ------------------------------------------------------------------------

_TOP = {
    kind.__name__: kind
    for kind in (Run, Operation, Watch, Delivery, WatchEnd, Fault, Status, Hash, Trouble, End)
}
_VALUES: dict[str, Any] = {
    name: kind for name, kind in vars(model).items() if isinstance(kind, type) and attrs.has(kind)
}


class FormatError(ValueError):
    """A line that is not a record; says which and why."""


def to_line(record: Record) -> str:
    """One record as one line of JSON."""
    fields = attrs.fields(type(record))
    content = {field.name: _encode(getattr(record, field.name)) for field in fields}
    return json.dumps({"record": type(record).__name__, **content}, separators=(",", ":")) + "\n"


def from_line(line: str) -> Record:
    """The record in ``line``.  Raises :class:`FormatError`."""
    try:
        content = json.loads(line)
        kind = _TOP[content.pop("record")]
        record: Record = kind(**{name: _decode(value) for name, value in content.items()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"not a record of a history: {line[:80]!r} ({error})") from error
    return record


def read(lines: Iterable[str]) -> History:
    """The history in ``lines``; a last line that was cut off is left out.

    Raises :class:`FormatError` for any other line that is not a record.
    """
    return History(list(_records(lines)))


def _records(lines: Iterable[str]) -> Iterator[Record]:
    for number, line in enumerate(lines, 1):
        if not line.endswith("\n"):
            return
        try:
            yield from_line(line)
        except FormatError as error:
            raise FormatError(f"line {number}: {error}") from error


def _encode(value: Any) -> Any:
    """Values of the model as ``{"Name": [field, ...]}``, tuples as lists, the rest as it is."""
    if attrs.has(type(value)):
        fields = [_encode(getattr(value, field.name)) for field in attrs.fields(type(value))]
        return {type(value).__name__: fields}
    if isinstance(value, tuple):
        return [_encode(one) for one in value]
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        ((name, fields),) = value.items()
        return _VALUES[name](*[_decode(field) for field in fields])
    if isinstance(value, list):
        return tuple(_decode(one) for one in value)
    return value
