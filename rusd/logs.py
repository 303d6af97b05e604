"""The log: one line an event, in the form etcd's zap logger gives it.

``json`` lines are objects with ``level``, ``ts``, ``caller``, ``msg`` and the
caller's fields; ``console`` lines hold the same, tab separated.  Tools wait for
some of etcd's messages, so those are part of the interface.

A logger formats and decides (level, sampling); it knows nothing of files: lines
go to the environment's sink.  Repeated messages are sampled as etcd does it:
in each second the first hundred of a level and message, then each hundredth.
"""

from __future__ import annotations

import math
import sys
import time
import traceback
from collections.abc import Mapping
from datetime import timedelta
from enum import Enum
from json import JSONEncoder
from typing import NamedTuple

from rusd.durations import format_duration
from rusd.environment import Clock, LogSink

LEVELS = ("debug", "info", "warn", "error", "panic", "fatal")
FORMATS = ("json", "console")

SAMPLING_WINDOW_SECONDS = 1.0
SAMPLED_FIRST = 100
SAMPLED_THEREAFTER = 100
SAMPLED_MESSAGES = 4096  # counted at a time; a flood of different messages can't grow the table further

_RANK = {level: rank for rank, level in enumerate(LEVELS)}
_DEBUG, _INFO, _WARN, _ERROR, _PANIC, _FATAL = range(len(LEVELS))

_ENCODER = JSONEncoder(ensure_ascii=False, separators=(",", ":"))

# Fields of a line: name → JSON text of the value.
_Fields = tuple[tuple[str, str], ...]


class Logger:
    """Writes log lines; made by :func:`make_logger`, narrowed by :meth:`bind`.

    Fields are keyword arguments; an underscore in a name becomes a dash.  A value
    may be anything: a :class:`~datetime.timedelta` is written as a Go duration,
    an exception as its text (from level ``error`` on with its traceback in
    ``stacktrace``), bytes as text.  Ids are given as hex strings by the caller.
    """

    __slots__ = ("_bound", "_core", "_rank")

    def __init__(self, core: _Core, rank: int, bound: _Fields = ()) -> None:
        self._core = core
        self._rank = rank
        self._bound = bound

    def debug(self, msg: str, /, **fields: object) -> None:
        """Of interest to somebody who reads the code."""
        if self._rank <= _DEBUG:
            self._core.write(_DEBUG, msg, self._bound, fields)

    def info(self, msg: str, /, **fields: object) -> None:
        """Of interest to an operator."""
        if self._rank <= _INFO:
            self._core.write(_INFO, msg, self._bound, fields)

    def warn(self, msg: str, /, **fields: object) -> None:
        """Something an operator should look at."""
        if self._rank <= _WARN:
            self._core.write(_WARN, msg, self._bound, fields)

    def error(self, msg: str, /, **fields: object) -> None:
        """Something failed."""
        if self._rank <= _ERROR:
            self._core.write(_ERROR, msg, self._bound, fields)

    def fatal(self, msg: str, /, **fields: object) -> None:
        """Why the process is about to end; ending it is left to the caller."""
        self._core.write(_FATAL, msg, self._bound, fields)

    def bind(self, **fields: object) -> Logger:
        """A logger that adds ``fields`` to each of its lines, before their own."""
        return Logger(self._core, self._rank, self._bound + _rendered(fields))

    def enabled(self, level: str) -> bool:
        """Whether lines of ``level`` are written: ask before preparing costly fields."""
        return _RANK[level] >= self._rank


def make_logger(sink: LogSink, clock: Clock, *, level: str = "info", format: str = "json") -> Logger:  # noqa: A002
    """A logger that writes lines of ``level`` and above to ``sink``.

    Raises :class:`ValueError` for a level not in :data:`LEVELS` or a format not in :data:`FORMATS`.
    """
    if level not in _RANK:
        raise ValueError(f'unrecognized level: "{level}"')
    if format not in FORMATS:
        raise ValueError(f'unknown log format: "{format}"')
    return Logger(_Core(sink, clock, console=format == "console"), _RANK[level])


class _Core:
    """What all loggers bound from one share: sink, clock, sampling counts."""

    __slots__ = ("_clock", "_console", "_counts", "_files", "_second", "_sink", "_stamp", "_window_end")

    def __init__(self, sink: LogSink, clock: Clock, *, console: bool) -> None:
        self._sink = sink
        self._clock = clock
        self._console = console
        self._counts: dict[tuple[int, str], int] = {}
        self._window_end = -math.inf
        self._files: dict[str, str] = {}  # source path → the part shown as caller
        self._second: int | None = None
        self._stamp = ("", "")  # date and time of that second, zone

    def write(self, rank: int, msg: str, bound: _Fields, fields: dict[str, object]) -> None:
        """Format one line and hand it to the sink.  Called by Logger's methods only: see ``_caller``."""
        if rank < _FATAL and self._drops(rank, msg):
            return
        event = _Event(
            level=LEVELS[rank],
            ts=self._timestamp(),
            caller=self._caller(),
            msg=msg,
            fields=bound + _rendered(fields),
            stack=_stack(fields) if rank >= _ERROR else "",
        )
        line = _console_line(event) if self._console else _json_line(event)
        if not line.isascii():  # a lone surrogate could not be written
            line = line.encode("utf-8", "replace").decode("utf-8")
        self._sink.write(line)

    def _drops(self, rank: int, msg: str) -> bool:
        """Count this line; whether sampling leaves it out."""
        now = self._clock.monotonic()
        if now >= self._window_end:
            self._window_end = now + SAMPLING_WINDOW_SECONDS
            self._counts.clear()
        elif len(self._counts) >= SAMPLED_MESSAGES:
            self._counts.clear()
        count = self._counts.get((rank, msg), 0) + 1
        self._counts[rank, msg] = count
        return count > SAMPLED_FIRST and (count - SAMPLED_FIRST) % SAMPLED_THEREAFTER != 0

    def _timestamp(self) -> str:
        """The present in the local zone: ``2026-01-02T03:04:05.678901Z`` or ``...+0100``."""
        microseconds = int(self._clock.time() * 1_000_000)
        second, fraction = divmod(microseconds, 1_000_000)
        if second != self._second:
            local = time.localtime(second)
            zone = time.strftime("%z", local) if local.tm_gmtoff else "Z"
            self._stamp = (time.strftime("%Y-%m-%dT%H:%M:%S", local), zone)
            self._second = second
        return f"{self._stamp[0]}.{fraction:06d}{self._stamp[1]}"

    def _caller(self) -> str:
        """``directory/file.py:line`` of the code that called the logger."""
        frame = sys._getframe(3)  # this method, write, the Logger's method, its caller
        path = frame.f_code.co_filename
        shown = self._files.get(path)
        if shown is None:
            shown = self._files[path] = "/".join(path.replace("\\", "/").split("/")[-2:])
        return f"{shown}:{frame.f_lineno}"


class _Event(NamedTuple):
    """The parts of a line."""

    level: str
    ts: str
    caller: str
    msg: str
    fields: _Fields
    stack: str


def _json_line(event: _Event) -> str:
    head = (
        f'{{"level":"{event.level}","ts":"{event.ts}","caller":{_json(event.caller)},"msg":{_json(event.msg)}'
    )
    pairs = "".join([f',"{name}":{value}' for name, value in event.fields])
    return f'{head}{pairs},"stacktrace":{_json(event.stack)}}}' if event.stack else f"{head}{pairs}}}"


def _console_line(event: _Event) -> str:
    line = f"{event.ts}\t{event.level}\t{event.caller}\t{event.msg}"
    if event.fields:
        line += "\t{" + ", ".join([f'"{name}": {value}' for name, value in event.fields]) + "}"
    return f"{line}\n{event.stack}" if event.stack else line


def _rendered(fields: Mapping[str, object]) -> _Fields:
    return tuple([(name.replace("_", "-"), _json(value)) for name, value in fields.items()])


def _json(value: object) -> str:
    """``value`` as JSON; what JSON has no form for becomes text first."""
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return _ENCODER.encode(value)
    return _ENCODER.encode(_plain(value))


def _plain(value: object) -> object:
    """``value`` as something JSON has a form for."""
    if isinstance(value, Enum):  # before int and str: an IntEnum is both
        return value.name
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((_plain(item) for item in value), key=str)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return _text(value)


def _text(value: object) -> object:
    """A value that is no container and unknown to JSON, as text (a finite float as itself)."""
    match value:
        case float():
            return value if math.isfinite(value) else str(value)
        case timedelta():
            return format_duration(value // timedelta(microseconds=1) * 1_000)
        case bytes() | bytearray() | memoryview():
            return bytes(value).decode("utf-8", "backslashreplace")
        case BaseException():
            return _error_text(value)
    return str(value)


def _error_text(error: BaseException) -> str:
    """What went wrong in one line: the message, of a group those of its members, else the type's name."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_error_text(member) for member in error.exceptions)
    return str(error) or type(error).__name__


def _stack(fields: Mapping[str, object]) -> str:
    """The traceback of the first exception among ``fields``, or nothing."""
    error = next((value for value in fields.values() if isinstance(value, BaseException)), None)
    return "" if error is None else "".join(traceback.format_exception(error)).rstrip()
