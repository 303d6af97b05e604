"""The leases of the cluster and the keys attached to them: a function of the log, without a clock.

How long a lease still lives is not in here; the leader alone knows
(:class:`rusd.lease.lessor.Lessor`).  The attachments are not dumped either: every
key's record names its lease, so whoever loads the keys attaches them again.  For the
same reason there is no way here from a key to its lease: whoever changes a key has
the record that it had.

While a huge transaction is published, keys are attached before it can be seen and
detached after: a lease has then *at least* the keys that it should have, and who
must know better looks at their records.

Semantics: etcd 3.6, ``server/lease/lessor.go``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import attrs

from rusd.lease.attached import KeySet
from rusd.lease.errors import LeaseExistsError, LeaseNotFoundError, LeaseTTLTooLargeError
from rusd.sorting import sort_steps
from rusd.steps import PAGE, Steps, Turn, discard_steps

MAX_TTL = 9_000_000_000
"""Seconds; etcd's MaxLeaseTTL."""


@attrs.frozen
class LeaseState:
    """A lease in a snapshot.

    ``ttl`` is what was granted, ``remaining`` what the last checkpoint says is left of it (0: no
    checkpoint), both in seconds.
    """

    lease_id: int
    ttl: int
    remaining: int = 0


class _Lease:
    __slots__ = ("keys", "remaining", "ttl")

    def __init__(self, ttl: int, remaining: int = 0) -> None:
        self.ttl = ttl
        self.remaining = remaining
        self.keys = KeySet()

    def state(self, lease_id: int) -> LeaseState:
        """As a snapshot has it."""
        return LeaseState(lease_id, self.ttl, self.remaining)


class LeaseCut:
    """All leases as they are now, to be taken out bit by bit while they change.

    Made by :meth:`LeaseStore.cut`; to be closed when done or abandoned.
    """

    def __init__(self, leases: LeaseStore) -> None:
        self._store = leases
        self._ids = list(leases.ids())
        self._changed: dict[int, LeaseState] = {}  # those that have changed since, as they were

    def keep(self, state: LeaseState) -> None:
        """A lease is about to change, or to go."""
        self._changed.setdefault(state.lease_id, state)

    def steps(self, turn: Turn) -> Steps[list[LeaseState]]:
        """All leases in ascending order of their ids.  Those that came later are left out."""
        ids = yield from sort_steps(self._ids, turn)
        states: list[LeaseState] = []
        for first in range(0, len(ids), PAGE):
            page = ids[first : first + PAGE]
            states += [self._changed.get(lease_id) or self._store.state(lease_id) for lease_id in page]
            turn.left -= PAGE
            if turn.left <= 0:
                yield
        return states

    def close(self) -> None:
        """Nobody needs to keep anything for this any more; closing twice is fine."""
        self._store.end_cut(self)


class LeaseStore:
    """All leases by id.  Every mutation is one applied entry, or part of one."""

    def __init__(self) -> None:
        self._leases: dict[int, _Lease] = {}
        self._cuts: list[LeaseCut] = []

    def __len__(self) -> int:
        return len(self._leases)

    def exists(self, lease_id: int) -> bool:
        """Whether there is such a lease."""
        return lease_id in self._leases

    def ids(self) -> Iterator[int]:
        """The ids of all leases, oldest grant first."""
        return iter(self._leases)

    def ttl(self, lease_id: int) -> int:
        """The granted time to live in seconds.  Raises :class:`LeaseNotFoundError`."""
        return self._get(lease_id).ttl

    def remaining(self, lease_id: int) -> int:
        """Seconds left by the last checkpoint, 0 if there is none.  Raises :class:`LeaseNotFoundError`."""
        return self._get(lease_id).remaining

    def keys(self, lease_id: int) -> list[bytes]:
        """The attached keys, sorted.  Raises :class:`LeaseNotFoundError`."""
        return sorted(chain.from_iterable(self._get(lease_id).keys.shards))

    def key_count(self, lease_id: int) -> int:
        """How many keys are attached.  Raises :class:`LeaseNotFoundError`."""
        return len(self._get(lease_id).keys)

    def keys_steps(self, lease_id: int, turn: Turn) -> Steps[list[bytes]]:
        """:meth:`keys` in steps; what is attached or detached meanwhile may or may not show."""
        keys: list[bytes] = []
        for part in self._get(lease_id).keys.parts():
            keys += part
            turn.left -= len(part)
            if turn.left <= 0:
                yield
        ordered = yield from sort_steps(keys, turn)
        yield from discard_steps([keys], turn)
        return ordered

    def grant(self, lease_id: int, ttl: int) -> None:
        """Make a lease of ``ttl`` seconds.  The minimum was applied before it was proposed.

        Raises :class:`LeaseNotFoundError` for id 0, :class:`LeaseTTLTooLargeError` and
        :class:`LeaseExistsError`, in this order.
        """
        if lease_id == 0:
            raise LeaseNotFoundError(lease_id)
        if ttl > MAX_TTL:
            raise LeaseTTLTooLargeError(lease_id, ttl)
        if lease_id in self._leases:
            raise LeaseExistsError(lease_id)
        self._leases[lease_id] = _Lease(ttl)

    def revoke(self, lease_id: int) -> list[set[bytes]]:
        """Remove a lease.  Returns the keys that were attached, in sets that are to be let go of.

        Raises :class:`LeaseNotFoundError`.
        """
        lease = self._get(lease_id)
        self._keep(lease_id, lease)
        del self._leases[lease_id]
        return lease.keys.shards

    def attach(self, key: bytes, lease_id: int, former: int = 0) -> None:
        """Attach ``key`` to a lease, and take it from the ``former`` one, the last it was attached to.

        Raises :class:`LeaseNotFoundError`.
        """
        lease = self._get(lease_id)
        if former and former != lease_id:
            self.detach(key, former)
        lease.keys.add(key)

    def detach(self, key: bytes, lease_id: int) -> None:
        """Take ``key`` from a lease; fine if it is not attached, or the lease is gone."""
        lease = self._leases.get(lease_id)
        if lease is not None:
            lease.keys.discard(key)

    def checkpoint(self, lease_id: int, remaining: int) -> None:
        """Note what is left of a lease, in seconds; 0 forgets it.  An unknown lease is ignored."""
        lease = self._leases.get(lease_id)
        if lease is not None:
            self._keep(lease_id, lease)
            lease.remaining = remaining

    def dump(self) -> tuple[LeaseState, ...]:
        """All leases in ascending order of their ids, for a snapshot."""
        return tuple(map(self.state, sorted(self._leases)))

    def state(self, lease_id: int) -> LeaseState:
        """One lease as a snapshot has it.  Raises :class:`LeaseNotFoundError`."""
        return self._get(lease_id).state(lease_id)

    def cut(self) -> LeaseCut:
        """As :meth:`dump`, to be taken out in steps."""
        cut = LeaseCut(self)
        self._cuts.append(cut)
        return cut

    def end_cut(self, cut: LeaseCut) -> None:
        """Forget about ``cut``."""
        if cut in self._cuts:
            self._cuts.remove(cut)

    def _keep(self, lease_id: int, lease: _Lease) -> None:
        for cut in self._cuts:
            cut.keep(lease.state(lease_id))

    def restore(self, states: Iterable[LeaseState]) -> None:
        """Add leases of a snapshot, some at a time."""
        for state in states:
            self._leases[state.lease_id] = _Lease(state.ttl, state.remaining)

    def take_over(self, other: LeaseStore) -> dict[Any, Any]:
        """Replace everything by what ``other`` has; returns what was there, to be let go of bit by bit."""
        for lease_id, lease in self._leases.items() if self._cuts else ():
            self._keep(lease_id, lease)
        former, self._leases = self._leases, other._leases
        return former

    def _get(self, lease_id: int) -> _Lease:
        try:
            return self._leases[lease_id]
        except KeyError:
            raise LeaseNotFoundError(lease_id) from None

    def check(self) -> None:
        """Verify the invariants; raises :class:`AssertionError`."""
        attached = [key for lease_id in self._leases for key in self.keys(lease_id)]
        assert len(attached) == len(set(attached)), "a key of two leases"
        assert 0 not in self._leases, "a lease with id 0"
