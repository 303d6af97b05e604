"""The log lines are etcd's."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from enum import IntEnum
from pathlib import Path

import pytest

from rusd.logs import LEVELS, SAMPLED_FIRST, SAMPLED_MESSAGES, SAMPLED_THEREAFTER, Logger, make_logger


class Lines:
    def __init__(self) -> None:
        self.written: list[str] = []

    def write(self, line: str) -> None:
        self.written.append(line)

    @property
    def last(self) -> dict[str, object]:
        fields: dict[str, object] = json.loads(self.written[-1])
        return fields


class Clock:
    def __init__(self) -> None:
        self.now = 1767323045.678901  # 2026-01-02T03:04:05.678901Z

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    async def sleep_until(self, deadline: float) -> None:
        raise NotImplementedError


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(lines: Lines, clock: Clock) -> Logger:
    return make_logger(lines, clock)


@pytest.fixture(params=["UTC0", "CET-1", "XXX+3:30"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def test_a_line_is_one_json_object_with_level_time_caller_message_and_fields(
    log: Logger, lines: Lines
) -> None:
    log.info("ready", member_id="8e9e05c52164694d", raft_term=2)

    head = list(lines.last)
    assert head == ["level", "ts", "caller", "msg", "member-id", "raft-term"]
    assert lines.last["level"] == "info"
    assert lines.last["msg"] == "ready"
    assert lines.last["member-id"] == "8e9e05c52164694d"
    assert lines.last["raft-term"] == 2
    assert '", "' not in lines.written[0]


def test_the_time_is_local_with_microseconds(zone: str, lines: Lines, clock: Clock) -> None:
    log = make_logger(lines, clock)
    log.info("now")
    clock.now += 0.5
    log.info("later")

    wanted = {
        "UTC0": ("2026-01-02T03:04:05.678901Z", "2026-01-02T03:04:06.178901Z"),
        "CET-1": ("2026-01-02T04:04:05.678901+0100", "2026-01-02T04:04:06.178901+0100"),
        "XXX+3:30": ("2026-01-01T23:34:05.678901-0330", "2026-01-01T23:34:06.178901-0330"),
    }[zone]
    assert tuple(json.loads(line)["ts"] for line in lines.written) == pytest.approx(wanted)


@pytest.mark.parametrize("level", ["debug", "info", "warn", "error", "fatal"])
def test_the_caller_is_the_line_that_logged(level: str, lines: Lines, clock: Clock) -> None:
    log = make_logger(lines, clock, level="debug").bind(bound=1)
    getattr(log, level)("here")

    file, _, number = str(lines.last["caller"]).rpartition(":")
    assert file == "tests/test_logs.py"
    assert "here" in Path(__file__).read_text().splitlines()[int(number) - 1]


class Color(IntEnum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("text", "text"),
        (True, True),
        (None, None),
        (7, 7),
        (1.5, 1.5),
        (float("inf"), "inf"),
        (timedelta(milliseconds=100), "100ms"),
        (timedelta(hours=2), "2h0m0s"),
        (timedelta(0), "0s"),
        (timedelta(seconds=-1), "-1s"),
        (b"key", "key"),
        (b"\xff\x00k", "\\xff\x00k"),
        (Color.RED, "RED"),
        (ValueError("no such thing"), "no such thing"),
        (KeyError(), "KeyError"),
        (ExceptionGroup("g", [ValueError("one"), OSError("two")]), "one; two"),
        (("a", timedelta(seconds=1)), ["a", "1s"]),
        (frozenset({3, 1, 2}), [1, 2, 3]),
        ({1: b"x"}, {"1": "x"}),
        (Path("/tmp/x"), "/tmp/x"),
    ],
)
def test_each_kind_of_value_has_its_form(value: object, written: object, log: Logger, lines: Lines) -> None:
    log.info("value", field=value)

    assert lines.last["field"] == written


def test_a_line_is_one_line_and_can_be_written_whatever_is_in_it(log: Logger, lines: Lines) -> None:
    log.info('two\nlines "quoted"', field="\n\ud800\x00é")

    assert "\n" not in lines.written[0]
    lines.written[0].encode("utf-8")
    assert lines.last["msg"] == 'two\nlines "quoted"'
    assert lines.last["field"] == "\n?\x00é"


def test_an_error_with_an_exception_has_its_traceback(log: Logger, lines: Lines) -> None:
    try:
        {}["missing"]
    except KeyError as error:
        log.error("failed", error=error)
        log.warn("failed", error=error)

    failed, warned = (json.loads(line) for line in lines.written)
    assert failed["error"] == "'missing'"
    assert "KeyError: 'missing'" in failed["stacktrace"]
    assert list(failed)[-1] == "stacktrace"
    assert "stacktrace" not in warned


def test_bound_fields_come_before_the_lines_own(log: Logger, lines: Lines) -> None:
    log.bind(peer="a").bind(stream_id=3).info("got", bytes=5)

    assert list(lines.last)[4:] == ["peer", "stream-id", "bytes"]


@pytest.mark.parametrize("threshold", LEVELS)
def test_only_lines_of_the_level_and_above_are_written(threshold: str, lines: Lines, clock: Clock) -> None:
    log = make_logger(lines, clock, level=threshold)
    for level in ("debug", "info", "warn", "error", "fatal"):
        getattr(log, level)(level)

    written = [json.loads(line)["level"] for line in lines.written]
    wanted = [level for level in LEVELS if LEVELS.index(level) >= LEVELS.index(threshold)]
    assert written == [level for level in wanted if level != "panic"]
    assert [level for level in LEVELS if log.enabled(level)] == wanted


def test_a_line_that_is_not_written_costs_no_formatting(log: Logger, lines: Lines) -> None:
    class Costly:
        def __str__(self) -> str:
            raise AssertionError

    log.debug("off", field=Costly())

    assert lines.written == []


def test_a_repeated_message_is_written_a_hundred_times_a_second_then_each_hundredth(
    log: Logger, lines: Lines, clock: Clock
) -> None:
    for number in range(SAMPLED_FIRST + 2 * SAMPLED_THEREAFTER + 1):
        log.info("again", number=number)
        log.bind(a=1).warn("again", number=number)

    numbers = [json.loads(line)["number"] for line in lines.written if '"info"' in line]
    assert numbers == [*range(100), 199, 299]
    assert len(lines.written) == 2 * len(numbers)

    clock.now += 1.0
    log.info("again", number=-1)
    assert lines.last["number"] == -1


def test_fatal_lines_and_other_messages_are_not_sampled(log: Logger, lines: Lines) -> None:
    for number in range(300):
        log.fatal("the end")
        log.info(f"message {number}")

    assert len(lines.written) == 600


def test_a_flood_of_different_messages_does_not_grow_the_table_of_counts(log: Logger, lines: Lines) -> None:
    for number in range(2 * SAMPLED_MESSAGES):
        log.info(f"message {number}")

    assert len(lines.written) == 2 * SAMPLED_MESSAGES
    assert len(log._core._counts) <= SAMPLED_MESSAGES


def test_the_console_form_is_tab_separated(lines: Lines, clock: Clock) -> None:
    log = make_logger(lines, clock, format="console")
    log.info("ready", address="127.0.0.1:2379", took=timedelta(seconds=1))
    log.warn("bare")

    time_, level, caller, message, fields = lines.written[0].split("\t")
    assert time_.startswith("2026-01-0")
    assert (level, message) == ("info", "ready")
    assert caller.startswith("tests/test_logs.py:")
    assert fields == '{"address": "127.0.0.1:2379", "took": "1s"}'
    assert lines.written[1].endswith("\tbare")


def test_the_console_form_has_the_traceback_below(lines: Lines, clock: Clock) -> None:
    make_logger(lines, clock, format="console").error("failed", error=ValueError("x"))

    assert lines.written[0].endswith('{"error": "x"}\nValueError: x')


@pytest.mark.parametrize(("level", "form"), [("loud", "json"), ("info", "xml"), ("", "json")])
def test_unknown_levels_and_formats_are_refused(level: str, form: str, lines: Lines, clock: Clock) -> None:
    with pytest.raises(ValueError, match=r"unrecognized level|unknown log format"):
        make_logger(lines, clock, level=level, format=form)
