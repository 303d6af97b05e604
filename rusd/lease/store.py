"""The leases of the cluster and the keys attached to them: a function of the log, without a clock.

How long a lease still lives is not in here; the leader alone knows
(:class:`rusd.lease.lessor.Lessor`).  The attachments are not dumped either: every
key's record names its lease, so whoever loads the keys attaches them again.

Semantics: etcd 3.6, ``server/lease/lessor.go``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from rusd.lease.errors import LeaseExistsError, LeaseNotFoundError, LeaseTTLTooLargeError

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
        self.keys: set[bytes] = set()


class LeaseStore:
    """All leases by id.  Every mutation is one applied entry, or part of one."""

    def __init__(self) -> None:
        self._leases: dict[int, _Lease] = {}
        self._lease_of: dict[bytes, int] = {}

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
        return sorted(self._get(lease_id).keys)

    def lease_of(self, key: bytes) -> int:
        """The lease ``key`` is attached to, or 0."""
        return self._lease_of.get(key, 0)

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

    def revoke(self, lease_id: int) -> list[bytes]:
        """Remove a lease.  Returns the keys to delete, sorted: all members delete in one order.

        Raises :class:`LeaseNotFoundError`.
        """
        keys = self.keys(lease_id)
        for key in keys:
            del self._lease_of[key]
        del self._leases[lease_id]
        return keys

    def attach(self, key: bytes, lease_id: int) -> None:
        """Attach ``key`` to a lease, and to that one only.  Raises :class:`LeaseNotFoundError`."""
        lease = self._get(lease_id)
        former = self._lease_of.get(key, 0)
        if former == lease_id:
            return
        if former:
            self._leases[former].keys.discard(key)
        lease.keys.add(key)
        self._lease_of[key] = lease_id

    def detach(self, key: bytes) -> None:
        """Take ``key`` from whatever lease it is attached to; fine if there is none."""
        lease_id = self._lease_of.pop(key, 0)
        if lease_id:
            self._leases[lease_id].keys.discard(key)

    def checkpoint(self, lease_id: int, remaining: int) -> None:
        """Note what is left of a lease, in seconds; 0 forgets it.  An unknown lease is ignored."""
        lease = self._leases.get(lease_id)
        if lease is not None:
            lease.remaining = remaining

    def dump(self) -> tuple[LeaseState, ...]:
        """All leases in ascending order of their ids, for a snapshot."""
        return tuple(
            LeaseState(lease_id, lease.ttl, lease.remaining)
            for lease_id, lease in sorted(self._leases.items())
        )

    def load(self, states: Iterable[LeaseState]) -> None:
        """Replace everything by ``states``; the keys have to be attached again."""
        self._leases = {state.lease_id: _Lease(state.ttl, state.remaining) for state in states}
        self._lease_of = {}

    def _get(self, lease_id: int) -> _Lease:
        try:
            return self._leases[lease_id]
        except KeyError:
            raise LeaseNotFoundError(lease_id) from None

    def check(self) -> None:
        """Verify that both directions of the attachments agree; raises :class:`AssertionError`."""
        attached = {key: lease_id for lease_id, lease in self._leases.items() for key in lease.keys}
        assert attached == self._lease_of, "keys and leases disagree"
        assert sum(len(lease.keys) for lease in self._leases.values()) == len(attached), "a key of two leases"
        assert 0 not in self._leases, "a lease with id 0"
