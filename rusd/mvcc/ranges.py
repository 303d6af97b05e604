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

if TYPE_CHECKING:
    from rusd.mvcc.store import Pin, Store

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

    def range(
        self,
        key: bytes,
        range_end: bytes = ...,
        *,
        revision: int = ...,
        limit: int = ...,
        count_only: bool = ...,
    ) -> RangeResult: ...


def evaluate(view: View, request: RangeRequest) -> RangeResult:
    """The answer to ``request``, in one go.

    Raises :class:`~rusd.mvcc.errors.CompactedError` or
    :class:`~rusd.mvcc.errors.FutureRevisionError`.
    """
    if request.count_only:
        return view.range(request.key, request.range_end, revision=request.revision, count_only=True)
    result = view.range(
        request.key, request.range_end, revision=request.revision, limit=_fetch_limit(request)
    )
    return _shape(result, request)


def _has_filters(request: RangeRequest) -> bool:
    return bool(
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )


def _fetch_limit(request: RangeRequest) -> int:
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


class RangeJob:
    """A range request evaluated in slices, on the revision current at its beginning.

    For ranges too large for one turn: writes go on between the steps and don't
    show.  Raises as :func:`evaluate` when made.  Pins the history until it is
    done or :meth:`close` d; ``result`` is there once :meth:`step` returned true.
    (Filters and sorting come in one go with the last step.)
    """

    def __init__(self, store: Store, request: RangeRequest) -> None:
        self.result: RangeResult | None = None
        self._request = request
        self._index = store.index
        self._at = store.check_readable(request.revision)
        self._header_revision = store.current_revision
        self._fetch = 0 if request.count_only else _fetch_limit(request)
        self._records: list[Record] = []
        self._count = 0
        self._next: bytes | None = request.key
        # At the newest revision the index knows the number, so reading can stop at the limit.
        self._total: int | None = None
        if self._at == store.current_revision and not store.publishing:
            self._total = store.count(request.key, request.range_end)
        self._pin: Pin | None = store.pin()

    def step(self, budget: int = 1000) -> bool:
        """Look at about ``budget`` more keys; whether the result is there."""
        if self.result is not None:
            return True
        if self._more_to_read():
            self._read(budget)
            return False
        count = self._count if self._total is None else self._total
        result = RangeResult(self._records, count, False, self._header_revision)
        self.result = result if self._request.count_only else _shape(result, self._request)
        self.close()
        return True

    def _more_to_read(self) -> bool:
        if self._next is None:
            return False
        if self._total is None:
            return True
        return not self._request.count_only and not 0 < self._fetch <= len(self._records)

    def _read(self, budget: int) -> None:
        request = self._request
        key = self._next or b""
        keys = self._index.page(key, request.range_end, budget)
        # The least key after the last one seen; a single key has no successor to look at.
        self._next = keys[-1] + b"\x00" if len(keys) >= budget and request.range_end else None
        histories, at = self._index.histories, self._at
        for candidate in keys:
            record = newest_at(histories[candidate], at)
            if record is not None and record.version:
                self._count += 1
                if not request.count_only and not 0 < self._fetch <= len(self._records):
                    self._records.append(record)

    def close(self) -> None:
        """Give up the pin; for a job that is abandoned."""
        pin, self._pin = self._pin, None
        if pin is not None:
            pin.release()
