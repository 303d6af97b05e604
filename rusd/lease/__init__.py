"""Leases (sans-IO).

=========================  ======================================================================
:mod:`rusd.lease.store`    which leases exist and which keys they hold: the same on every member
:mod:`rusd.lease.lessor`   when they run out: known to the leader only
:mod:`rusd.lease.errors`   what can be wrong
=========================  ======================================================================
"""

from rusd.lease.errors import (
    LeaseError,
    LeaseExistsError,
    LeaseExpiredError,
    LeaseNotFoundError,
    LeaseTTLTooLargeError,
    NotPrimaryError,
)
from rusd.lease.lessor import Lessor, minimum_ttl
from rusd.lease.store import MAX_TTL, LeaseCut, LeaseState, LeaseStore

__all__ = [
    "MAX_TTL",
    "LeaseCut",
    "LeaseError",
    "LeaseExistsError",
    "LeaseExpiredError",
    "LeaseNotFoundError",
    "LeaseState",
    "LeaseStore",
    "LeaseTTLTooLargeError",
    "Lessor",
    "NotPrimaryError",
    "minimum_ttl",
]
