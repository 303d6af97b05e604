"""All services of one server, ready to be registered."""

from __future__ import annotations

from rusd.grpc import Registry
from rusd.services.cluster import ClusterService
from rusd.services.context import Context
from rusd.services.election import ElectionService
from rusd.services.health import HealthService
from rusd.services.kv import KVService
from rusd.services.lease import LeaseService
from rusd.services.lock import LockService
from rusd.services.maintenance import MaintenanceService
from rusd.services.recipes import Recipes
from rusd.services.remote import PeerHandler, answering
from rusd.services.watch import WatchService


class Services:
    """One of each.  ``progress_interval`` and ``minimum_ttl`` are in seconds.

    ``strict_reconfiguration`` is ``--strict-reconfig-check``.
    """

    def __init__(
        self,
        context: Context,
        *,
        progress_interval: float,
        minimum_ttl: int,
        strict_reconfiguration: bool = True,
    ) -> None:
        self.kv = KVService(context)
        self.watch = WatchService(context, progress_interval=progress_interval)
        self.lease = LeaseService(context, minimum_ttl=minimum_ttl)
        self.cluster = ClusterService(context, strict=strict_reconfiguration)
        self.maintenance = MaintenanceService(context)
        recipes = Recipes(context, self.kv, self.lease)
        self._all = (
            self.kv,
            self.watch,
            self.lease,
            self.cluster,
            self.maintenance,
            HealthService(),
            LockService(recipes),
            ElectionService(recipes),
        )

    def register(self, registry: Registry) -> None:
        """Make all methods known."""
        for service in self._all:
            service.register(registry)

    def peer_methods(self) -> dict[str, PeerHandler]:
        """What other members may ask this one, by the method's name."""
        methods = self.lease.peer_methods() | self.cluster.peer_methods() | self.maintenance.peer_methods()
        return {name: answering(handler) for name, handler in methods.items()}
