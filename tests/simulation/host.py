"""One machine: a disk that outlives crashes, and the process that does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from rusd.raft import Ready
from rusd.testing.disk import DiskStoppedError, FaultDisk, MemoryDisk
from tests.simulation import properties
from tests.simulation.durable import Durable
from tests.simulation.process import Killed
from tests.simulation.properties import Violation

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.world import World


@attrs.frozen
class Crash:
    """How a process ends, and what is left of what its disk was not told to sync.

    ``survival`` is the chance of each unsynced page and name to survive the power cut;
    ``None`` kills the process only, and the machine keeps all it wrote.
    ``recovery`` crashes the next start after so many disk operations, 0 for not.
    """

    survival: float | None = None
    down: int = 500
    recovery: int = 0


class Host:
    """A machine with an id; it runs at most one process."""

    def __init__(self, world: World, me: int) -> None:
        self.world = world
        self.id = me
        self.boots = 0
        self.disk = MemoryDisk()
        self.faults = FaultDisk(self.disk)
        self.durable = Durable()
        self.writing: Ready | None = None  # the batch whose sync has not returned
        self.process: Process | None = None
        self.tick_every = world.settings.tick_milliseconds
        self.slow_disk_by = 0
        self.served_revision = 0
        self._is_retired = False
        self._ticks = 0  # how many were ordered
        self._crash = Crash()
        self._plan = 0  # counts crashes to come
        self._effects_left = 0  # until the process is killed; 0 for never
        self._answers: list[Callable[[], None]] = []

    # -- life -----------------------------------------------------------------------

    def start(self) -> None:
        """Begin another life of the process; a disk that stops meanwhile ends it."""
        if self.process is not None or self._is_retired:
            return
        self.boots += 1
        try:
            self.process = self.world.settings.process_class(self, self.world)
        except DiskStoppedError:
            self.world.coverage["crashes in recovery"] += 1
            self._fall(Crash(self._crash.survival, self._crash.down))
            return
        self.world.coverage["starts"] += 1
        self.world.coverage["restarts"] += self.boots > 1
        self.world.trace.note(self.process, f"starts with {self.durable}")
        self.world.safety.observe(self.process)
        self._tick_later(self.process)

    def crash_soon(
        self, crash: Crash, *, effects: int = 0, disk_operations: int = 0, written: int = 0
    ) -> None:
        """Let the process die after so many effects or disk operations, in any case soon."""
        process = self.process
        if process is None:
            return
        self._crash = crash
        if disk_operations:
            self.faults.stop_after(None, disk_operations, written=written)
        self._effects_left = effects
        self._plan += 1
        plan = self._plan
        self.world.scheduler.after(400, lambda: self.die(process) if plan == self._plan else None)

    def effect(self) -> None:
        """Something visible is about to happen."""
        if self._effects_left:
            self._effects_left -= 1
            if not self._effects_left:
                raise Killed

    def die(self, process: Process | None = None) -> None:
        """The process, or that one if it still runs, is gone."""
        if self.process is None or process not in {None, self.process}:
            return
        self.world.coverage["crashes"] += 1
        self.world.trace.note(self.process, f"dies, {self._crash}")
        self.process.close()
        self.process = None
        self._fall(self._crash)

    def retire(self, process: Process) -> None:
        """The process, if it still runs, ends for good: its member was removed."""
        if self.process is not process:
            return
        self.world.coverage["members gone for good"] += 1
        self.world.trace.note(process, "ends, removed")
        self._is_retired = True
        process.close()
        self.process = None

    def _fall(self, crash: Crash) -> None:
        self._effects_left = 0
        self._answers.clear()
        if crash.survival is not None:
            chance = self.world.chance.stream(f"power {self.id}")
            items = self.disk.unsynced()
            kept = [item for item in items if chance.random() < crash.survival]
            if 0 < len(kept) < len(items):
                self.world.coverage["torn disks"] += 1
            self.disk = self.disk.crash(kept)
        self.faults = FaultDisk(self.disk)
        if crash.recovery:
            self.faults.stop_after(None, crash.recovery, written=100)
        self.world.scheduler.after(crash.down, self.start)

    def recovered(self, found: Durable) -> None:
        """A start has found this on the disk: it has to be what was synced, and perhaps the last batch."""
        writing, self.writing = self.writing, None
        possible = self.durable.outcomes(writing)
        if self.boots > 1 and self.durable.term and not any(each.agrees_with(found) for each in possible):
            raise Violation(properties.DURABILITY, f"{self.id} finds {found}, possible were {possible}")
        self.durable = found

    # -- time -----------------------------------------------------------------------

    def _tick_later(self, process: Process) -> None:
        self._tick_after(self.tick_every, process)

    def _tick_after(self, milliseconds: int, process: Process) -> None:
        """The next tick; one that was to come no longer counts."""
        self._ticks += 1
        number = self._ticks
        self.world.scheduler.after(milliseconds, lambda: self._tick(process, number))

    def _tick(self, process: Process, number: int) -> None:
        if process is not self.process or number != self._ticks:
            return
        if process.resumes_at <= self.world.scheduler.now:
            process.do(process.tick)
            self._tick_later(process)
            return
        # A late tick counts once, however many were missed.
        late = process.resumes_at - self.world.scheduler.now + 1
        self._tick_after(late, process)

    def restore(self) -> None:
        """The clock and the disk are as they should be."""
        self.tick_every = self.world.settings.tick_milliseconds
        self.slow_disk_by = 0

    def end_faults(self) -> None:
        """From now on nothing bad happens here; a process that is down is started."""
        self.restore()
        self._plan += 1
        self._effects_left = 0
        self.faults.clear()
        self.start()
        if self.process is not None:
            self.process.resumes_at = 0
            self.process.resume()
            self._tick_later(self.process)  # and not only when the pause would have been over

    # -- clients ----------------------------------------------------------------------

    def answer_later(self, answer: Callable[[], None]) -> None:
        """Remember an answer until the step that made it is over."""
        self._answers.append(answer)

    def answer(self) -> None:
        """Give out the answers of this step, each of which may be the last that gets out."""
        while self._answers:
            self.effect()
            self._answers.pop(0)()
