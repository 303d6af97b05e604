from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rusd.grpc import Deadline, Deadlines


class DeadlinesMachine(RuleBasedStateMachine):
    """Against a dictionary of what is due when."""

    def __init__(self) -> None:
        super().__init__()
        self.alarm = float("inf")
        self.deadlines = Deadlines(self._earlier)
        self.expected: dict[int, float] = {}
        self.entries: dict[int, Deadline] = {}
        self.called: list[int] = []
        self.now = 0.0

    def _earlier(self) -> None:
        at = self.deadlines.arm()
        assert at is not None
        self.alarm = at

    @rule(delay=st.floats(0, 10))
    def add(self, delay: float) -> None:
        name = len(self.entries)
        self.entries[name] = self.deadlines.add(self.now + delay, lambda: self.called.append(name))
        self.expected[name] = self.now + delay

    @rule(choice=st.integers(0, 1000))
    def cancel(self, choice: int) -> None:
        if self.entries:
            name = choice % len(self.entries)
            self.deadlines.cancel(self.entries[name])
            self.expected.pop(name, None)

    @rule(step=st.floats(0, 5))
    def pass_time(self, step: float) -> None:
        self.now += step
        due = sorted((at, name) for name, at in self.expected.items() if at <= self.now)
        self.called.clear()
        assert self.deadlines.expire(self.now) == len(due)
        assert sorted(self.called) == sorted(name for _, name in due)
        assert [self.expected[name] for name in self.called] == [at for at, _ in due]
        for _, name in due:
            del self.expected[name]
        at = self.deadlines.arm()
        self.alarm = float("inf") if at is None else at

    @invariant()
    def nothing_is_due_before_the_alarm(self) -> None:
        self.deadlines.check()
        assert len(self.deadlines) == len(self.expected)
        assert self.alarm <= min(self.expected.values(), default=float("inf"))


TestDeadlines = DeadlinesMachine.TestCase
TestDeadlines.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_cancelled_entries_do_not_pile_up() -> None:
    deadlines = Deadlines()
    kept = deadlines.add(1.0, lambda: None)
    for _ in range(10_000):
        deadlines.cancel(deadlines.add(1e9, lambda: None))
    assert len(deadlines._heap) < 3000
    assert len(deadlines) == 1
    assert kept.action is not None


def test_the_alarm_is_set_anew_only_for_something_earlier() -> None:
    calls: list[float] = []
    deadlines = Deadlines(lambda: calls.append(1))
    deadlines.add(5.0, lambda: None)
    deadlines.add(6.0, lambda: None)
    assert len(calls) == 1
    deadlines.add(4.0, lambda: None)
    assert len(calls) == 2
    assert deadlines.arm() == 4.0
