"""A history survives being written and read; a damaged file is told from one that was cut off."""

from __future__ import annotations

import io

import pytest
from hypothesis import HealthCheck, given, settings

from chaos.history import (
    FormatError,
    History,
    Recorder,
    Status,
    Trouble,
    WatchEnd,
    from_line,
    read,
    to_line,
)
from chaos.model import Compact, Event, Grant, KeyValue, Lock, shortened
from tests.chaos.histories import Play, plays


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plays())
def test_what_is_written_can_be_read(play: Play) -> None:
    play.do(Grant(1, 5), ttl=5)
    play.do(Lock("lock", 1))
    play.do(Compact(1), happens=False, outcome="failed")
    records = [
        *play.history().records,
        Status(0, 1.0, -1, 2, 3, 4),
        WatchEnd("w", 1, 2.0, "gone", 7),
        Trouble(3.0, "odd \n text ☃", fatal=True),
    ]
    assert read(to_line(record) for record in records) == History(records)


def test_a_recorder_writes_each_record_at_once() -> None:
    file = io.StringIO()
    recorder = Recorder(lambda: 1.0, file)
    recorder.add(Trouble(1.0, "one"))
    assert file.getvalue().count("\n") == 1
    recorder.add(Trouble(1.0, "two"))
    assert read(file.getvalue().splitlines(keepends=True)) == recorder.history
    assert [recorder.next_id(), recorder.next_id()] == [1, 2]


def test_a_last_line_that_was_cut_off_is_left_out() -> None:
    lines = [to_line(Trouble(1.0, "one")), to_line(Trouble(2.0, "two"))[:-5]]
    assert len(read(lines).records) == 1


@pytest.mark.parametrize(
    "line", ["nonsense\n", "[1]\n", '{"record":"Nothing"}\n', '{"record":"Trouble","at":1}\n', '"x"\n']
)
def test_any_other_bad_line_is_refused_by_number(line: str) -> None:
    with pytest.raises(FormatError, match="line 2"):
        read([to_line(Trouble(1.0, "one")), line])
    with pytest.raises(FormatError):
        from_line(line)


def test_events_keep_what_was_before() -> None:
    event = Event("PUT", KeyValue("k", "v", 2, 3, 2, 9), KeyValue("k", "u", 2, 2, 1))
    play = Play()
    play.log.append((1.0, (event,)))
    play.revision = 3
    copy = read(to_line(record) for record in play.history().records)
    assert copy == play.history()


def test_long_values_are_kept_by_what_tells_them_apart() -> None:
    assert shortened("short") == "short"
    one, other = shortened("x" * 9000), shortened("x" * 8999 + "y")
    assert one != other
    assert len(one) < 100
