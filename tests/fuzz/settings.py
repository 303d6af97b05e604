"""Target: command line, environment and configuration file of any content.

Asserted: there is a configuration, a :class:`~rusd.config.UsageError` with a text and an exit code, or a
request to print something; nothing else.
"""

from __future__ import annotations

from typing import Final

from rusd.config import Config, ExitRequest, UsageError, check_unique, listed_members, parse
from rusd.config.vocabulary import KINDS
from tests.fuzz.source import Source

NAMES: Final = sorted(KINDS)  # former names and flags that do nothing too
VALUES: Final = (
    "",
    "0",
    "1",
    "-1",
    "true",
    "10s",
    "1h5m",
    "http://localhost:0",
    "http://127.0.0.1:2379,unix://x",
    "default=http://localhost:2380",
    "99999999999999999999",
    "0x10",
    "1_0",
    "*",
    "a=b,c=true",
    "https://[::1]:1",
    "http://\u00e9:x",
    "1e3",
    ".5ns",
)
YAML: Final = (
    "name: {0}\n",
    "{1}: {0}\n",
    "{1}: [{0}]\n",
    "client-transport-security:\n  cert-file: {0}\n",
    "{1}: !!int '{0}'\n",
    "{1}: !!timestamp '{0}'\n",
    "{1}: 2001-99-99\n",
    "? [a, {0}]\n: b\n",
    "{1}: &x [*x]\n",
    "{1}: !!binary '{0}'\n",
    "{1}: !!bool '{0}'\n",
    "{1}: {0}:59:99\n",
    "<<: {0}\n",
    "{1}: !!float '{0}'\n",
    "{1}: \u0000\n",
)


def text(source: Source) -> str:
    choice = source.byte()
    if choice & 0x80:
        return source.chunk().decode("utf-8", "surrogateescape" if choice & 1 else "replace")
    return VALUES[choice % len(VALUES)]


def name(source: Source) -> str:
    choice = source.byte()
    return text(source) if choice == 0xFF else NAMES[choice % len(NAMES)]


def document(source: Source) -> str:
    """A file: lines that look like one, or any text."""
    if source.flag():
        return source.rest().decode("utf-8", "replace")
    lines = []
    while source.more:
        lines.append(source.pick(YAML).format(text(source), name(source)))
    return "".join(lines)


def target(data: bytes) -> None:
    """Raises whatever should not have come out of the configuration, and :class:`AssertionError`."""
    source = Source(data)
    mode = source.byte() & 3
    words: list[str] = []
    environ: dict[str, str] = {}
    if mode == 0:
        words.append("--config-file=x")
    while mode and source.more:
        op = source.byte()
        if op & 0x40:
            variable = "ETCD_" + name(source).upper().replace("-", "_")
            environ[variable] = text(source)
        elif op & 0x20:
            words.append(text(source))
        else:
            words.append("-" * (op % 4) + name(source) + ("=" + text(source) if op & 4 else ""))
    try:
        parsed = parse(words, environ, lambda _: document(source))
    except UsageError as error:
        judge(error)
        return
    except ExitRequest as request:
        str(request.output)
        return
    assert isinstance(parsed.config, Config)
    for notice in parsed.notices:
        str(notice)
    try:
        check_unique(listed_members(parsed.config))
    except UsageError as error:
        judge(error)


def judge(error: UsageError) -> None:
    assert error.exit_code in (1, 2)
    assert error.message
    assert bool(error.stderr) == (error.exit_code == 2)
