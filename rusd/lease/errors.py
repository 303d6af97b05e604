"""What can be wrong with a request about leases.  The texts clients see belong to the service layer."""

from __future__ import annotations


class LeaseError(Exception):
    """The common base; ``lease_id`` is the lease it is about."""

    def __init__(self, lease_id: int, what: str) -> None:
        super().__init__(f"lease {lease_id}: {what}")
        self.lease_id = lease_id


class LeaseNotFoundError(LeaseError):
    """There is no such lease (the id 0 never is one)."""

    def __init__(self, lease_id: int) -> None:
        super().__init__(lease_id, "not found")


class LeaseExistsError(LeaseError):
    """A lease with this id exists already."""

    def __init__(self, lease_id: int) -> None:
        super().__init__(lease_id, "exists already")


class LeaseTTLTooLargeError(LeaseError):
    """The time to live is above :data:`rusd.lease.MAX_TTL`."""

    def __init__(self, lease_id: int, ttl: int) -> None:
        super().__init__(lease_id, f"TTL of {ttl} s is too large")
        self.ttl = ttl


class LeaseExpiredError(LeaseError):
    """The lease has run out and waits for its revocation; renewing it is too late."""

    def __init__(self, lease_id: int) -> None:
        super().__init__(lease_id, "expired, and not revoked yet")


class NotPrimaryError(LeaseError):
    """Only the leader keeps time, and this is not the leader (any more)."""

    def __init__(self, lease_id: int) -> None:
        super().__init__(lease_id, "not a primary lessor")
