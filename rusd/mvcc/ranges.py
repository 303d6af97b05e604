"""Evaluating a Range request: filters, order, limit, as etcd does it.

``request`` is an ``etcdserverpb.RangeRequest`` or anything with its attributes
(:class:`RangeOptions`).  A *view* is a store or a transaction.

etcd reads no further than ``limit + 1`` keys when nothing but a limit is asked
for, but the whole range when there is a revision filter or a sort order.  A sort
*target* without an order does not count there: then the keys read under the limit
are sorted in ascending order.  Keys that compare equal stay in key order here;
etcd leaves their order open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from rusd.mvcc.index import newest_at
from rusd.mvcc.record import Record
from rusd.sorting import sort_by_steps
from rusd.steps import CHEAP, PAGE, Steps, Turn, discard_steps

if TYPE_CHECKING:
    from rusd.mvcc.store import Store

# etcdserverpb.RangeRequest.SortOrder and SortTarget
ORDER_NONE, ORDER_ASCEND, ORDER_DESCEND = 0, 1, 2
TARGET_KEY, TARGET_VERSION, TARGET_CREATE, TARGET_MOD, TARGET_VALUE = range(5)

_SORT_KEYS: dict[int, Callable[[Record], Any]] = {
    TARGET_KEY: attrgetter("key"),
    TARGET_VERSION: attrgetter("version"),
    TARGET_CREATE: attrgetter("create_revision"),
    TARGET_MOD: attrgetter("mod_revision"),
    TARGET_VALUE: attrgetter("value"),
}


@attrs.define(eq=False)
class RangeResult:
    """What a range found.  Not changed once it is handed out.

    ``count`` is the number of keys in the range before filters and limit;
    ``more`` says that the limit cut something off; ``revision`` is for the
    answer's header; with ``keys_only`` the values are to be left out.
    """

    records: Sequence[Record]
    count: int
    more: bool
    revision: int
    keys_only: bool = False


class RangeRequest(Protocol):
    """The attributes of ``etcdserverpb.RangeRequest`` that matter here."""

    @property
    def key(self) -> bytes: ...
    @property
    def range_end(self) -> bytes: ...
    @property
    def limit(self) -> int: ...
    @property
    def revision(self) -> int: ...
    @property
    def sort_order(self) -> int: ...
    @property
    def sort_target(self) -> int: ...
    @property
    def keys_only(self) -> bool: ...
    @property
    def count_only(self) -> bool: ...
    @property
    def min_mod_revision(self) -> int: ...
    @property
    def max_mod_revision(self) -> int: ...
    @property
    def min_create_revision(self) -> int: ...
    @property
    def max_create_revision(self) -> int: ...


@attrs.frozen
class RangeOptions:
    """A range request made by hand."""

    key: bytes
    range_end: bytes = b""
    limit: int = 0
    revision: int = 0
    sort_order: int = ORDER_NONE
    sort_target: int = TARGET_KEY
    keys_only: bool = False
    count_only: bool = False
    min_mod_revision: int = 0
    max_mod_revision: int = 0
    min_create_revision: int = 0
    max_create_revision: int = 0


class View(Protocol):
    """What can be read: a store or a transaction."""

    @property
    def view_revision(self) -> int: ...

    def get(self, key: bytes) -> Record | None: ...

    def range(
        self,
        key: bytes,
        range_end: bytes = ...,
        *,
        revision: int = ...,
        limit: int = ...,
        count_only: bool = ...,
    ) -> RangeResult: ...

    def range_steps(
        self,
        key: bytes,
        range_end: bytes,
        turn: Turn,
        *,
        revision: int = ...,
        limit: int = ...,
        count_only: bool = ...,
    ) -> Steps[RangeResult]: ...


def evaluate(view: View, request: RangeRequest) -> RangeResult:
    """The answer to ``request``, in one go.

    Raises :class:`~rusd.mvcc.errors.CompactedError` or
    :class:`~rusd.mvcc.errors.FutureRevisionError`.
    """
    if request.count_only:
        return view.range(request.key, request.range_end, revision=request.revision, count_only=True)
    result = view.range(request.key, request.range_end, revision=request.revision, limit=fetch_limit(request))
    return _shape(result, request)


def _has_filters(request: RangeRequest) -> bool:
    return bool(
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )


def fetch_limit(request: RangeRequest) -> int:
    """How many records to read at most; 0 for all.  One beyond the limit tells ``more``."""
    limit = request.limit
    if limit <= 0 or request.sort_order != ORDER_NONE or _has_filters(request):
        return 0
    return limit + 1


def _shape(result: RangeResult, request: RangeRequest) -> RangeResult:
    """Filter, sort and cut what was read."""
    records = result.records
    if _has_filters(request):
        records = _filtered(records, request)
    if request.sort_target != TARGET_KEY or request.sort_order == ORDER_DESCEND:
        key = _SORT_KEYS.get(request.sort_target, _SORT_KEYS[TARGET_KEY])
        # Python's sort keeps equal ones in order, reversed too.
        records = sorted(records, key=key, reverse=request.sort_order == ORDER_DESCEND)
    limit = request.limit
    result.more = 0 < limit < len(records)
    result.records = records[:limit] if result.more else records
    result.keys_only = request.keys_only
    return result


def _filtered(records: Sequence[Record], request: RangeRequest) -> list[Record]:
    """The records within the revision bounds; a bound of 0 is none."""
    min_mod, max_mod = request.min_mod_revision, request.max_mod_revision
    min_create, max_create = request.min_create_revision, request.max_create_revision
    return [
        record
        for record in records
        if not (
            (max_mod and record.mod_revision > max_mod)
            or (min_mod and record.mod_revision < min_mod)
            or (max_create and record.create_revision > max_create)
            or (min_create and record.create_revision < min_create)
        )
    ]


def evaluate_steps(view: View, request: RangeRequest, turn: Turn) -> Steps[RangeResult]:
    """:func:`evaluate` in steps."""
    if not request.range_end:
        turn.left -= 1
        return evaluate(view, request)
    result = yield from view.range_steps(
        request.key,
        request.range_end,
        turn,
        revision=request.revision,
        limit=0 if request.count_only else fetch_limit(request),
        count_only=request.count_only,
    )
    return result if request.count_only else (yield from _shape_steps(result, request, turn))


def _shape_steps(result: RangeResult, request: RangeRequest, turn: Turn) -> Steps[RangeResult]:
    """:func:`_shape` in steps."""
    if len(result.records) <= PAGE:
        return _shape(result, request)
    records = result.records if isinstance(result.records, list) else list(result.records)
    if _has_filters(request):
        everything, records = records, []
        for start in range(0, len(everything), PAGE):
            records += _filtered(everything[start : start + PAGE], request)
            turn.left -= PAGE / 4
            if turn.left <= 0:
                yield
        yield from discard_steps([everything], turn)
    if request.sort_target != TARGET_KEY or request.sort_order == ORDER_DESCEND:
        key = _SORT_KEYS.get(request.sort_target, _SORT_KEYS[TARGET_KEY])
        ordered = yield from sort_by_steps(records, turn, key, reverse=request.sort_order == ORDER_DESCEND)
        yield from discard_steps([records], turn)
        records = ordered
    limit = request.limit
    result.more = 0 < limit < len(records)
    while 0 < limit < len(records):
        del records[max(limit, len(records) - PAGE) :]
        turn.left -= PAGE / CHEAP
        if turn.left <= 0:
            yield
    result.records = records
    result.keys_only = request.keys_only
    return result


def read_steps(
    store: Store,
    key: bytes,
    range_end: bytes,
    turn: Turn,
    *,
    revision: int = 0,
    limit: int = 0,
    count_only: bool = False,
    pinned_revision: int = 0,
) -> Steps[RangeResult]:
    """:meth:`rusd.mvcc.store.Store.range` in steps, all of the revision current at the first one.

    Writes go on between the steps and don't show.  That revision is pinned until the end, or
    until the generator is closed.  ``pinned_revision`` instead of ``revision`` is one that may be
    compacted by now; its history was pinned before.
    """
    at = pinned_revision or store.check_readable(revision)
    if not range_end:
        turn.left -= 1
        record = store.index.get(key, at)
        found = [] if record is None or count_only else [record]
        return RangeResult(found, int(record is not None), False, store.current_revision)
    header_revision = store.current_revision
    # At the newest revision the index knows the number, so reading can stop at the limit.
    total = store.count(key, range_end) if at == header_revision else None
    records: list[Record] = []
    count = 0
    start: bytes | None = key
    pin = store.pin(at)
    try:
        while start is not None:
            enough = count_only or 0 < limit <= len(records)
            if enough and total is not None:
                break
            size = int(max(1, min(turn.left, PAGE)))
            page, start = read_page(store, start, range_end, at, size)
            count += len(page)
            if not enough:
                records += page
            turn.left -= size
            if turn.left <= 0:
                yield
    finally:
        pin.release()
    if limit > 0:
        del records[limit:]
    if total is None:
        total = count
    return RangeResult(records, total, not count_only and len(records) < total, header_revision)


def read_page(
    store: Store, key: bytes, range_end: bytes, at: int, size: int
) -> tuple[list[Record], bytes | None]:
    """What lived at a readable revision among the next ``size`` keys, and the key to go on from.

    That is ``None`` at the end of the range.
    """
    index = store.index
    if at == store.current_revision:  # nothing was written meanwhile: the living keys will do
        records = index.newest(key, range_end, size, before=at)[0]
        return records, records[-1].key + b"\x00" if len(records) >= size else None
    keys = index.page(key, range_end, size)
    found = [newest_at(index.histories[candidate], at) for candidate in keys]
    records = [record for record in found if record is not None and record.version]
    return records, keys[-1] + b"\x00" if len(keys) >= size else None
