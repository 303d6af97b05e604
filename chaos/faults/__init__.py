"""What is done to the cluster: each module has some faults, all of them are here by name."""

from chaos.faults import crash, disk, network, processes, replace, upkeep
from chaos.faults.base import Fault, Plan, Stage

FAULTS: dict[str, Fault] = {
    one.name: one
    for one in (
        *processes.FAULTS,
        *network.FAULTS,
        *disk.FAULTS,
        *upkeep.FAULTS,
        *crash.FAULTS,
        *replace.FAULTS,
    )
}

__all__ = ["FAULTS", "Fault", "Plan", "Stage"]
