"""What clients do: each module has some workloads, all of them are here by name."""

from chaos.workloads import keys, leases, watches
from chaos.workloads.base import Workload

WORKLOADS: dict[str, Workload] = {
    one.name: one for one in (*keys.WORKLOADS, *leases.WORKLOADS, *watches.WORKLOADS)
}

__all__ = ["WORKLOADS", "Workload"]
