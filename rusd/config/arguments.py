"""The command line, read by the rules of Go's ``flag`` package.

``-f`` and ``--f`` are the same; a value follows as ``--f=v`` or as the next
word, but to a boolean only as ``--f=v``; the first word that is no flag ends
the flags, as does ``--``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from rusd.config.errors import EXIT_BAD_FLAG, ExitRequest, UsageError
from rusd.config.help import FLAG_HELP, USAGE
from rusd.config.vocabulary import KINDS


@attrs.frozen
class Arguments:
    """What the command line says: values by flag name, and the words after the flags."""

    values: dict[str, Any]
    rest: tuple[str, ...]


def read_arguments(words: Sequence[str]) -> Arguments:
    """Read ``words``, the program's name not among them.

    Raises :class:`UsageError` with exit code 2 for an unknown flag or a malformed value, and
    :class:`ExitRequest` at ``-h`` or ``--help``.
    """
    values: dict[str, Any] = {}
    position = 0
    while position < len(words):
        word = words[position]
        if len(word) < 2 or not word.startswith("-"):
            break
        position += 1
        if word == "--":
            break
        name, separator, text = word.removeprefix("-").removeprefix("-").partition("=")
        if not name or name.startswith("-"):
            raise _bad_flag(f"bad flag syntax: {word}")
        if name not in KINDS:
            if name in ("help", "h"):
                raise ExitRequest(FLAG_HELP, stderr=USAGE)
            raise _bad_flag(f"flag provided but not defined: -{name}")
        if not separator and not KINDS[name].is_boolean:
            if position == len(words):
                raise _bad_flag(f"flag needs an argument: -{name}")
            text = words[position]
            position += 1
        values[name] = _value(name, text if separator or not KINDS[name].is_boolean else "true")
    return Arguments(values, tuple(words[position:]))


def _value(name: str, text: str) -> object:
    kind = KINDS[name]
    try:
        return kind.read(text)
    except ValueError as error:
        if kind.is_boolean:
            raise _bad_flag(f'invalid boolean value "{text}" for -{name}: {error}') from None
        raise _bad_flag(f'invalid value "{text}" for flag -{name}: {error}') from None


def _bad_flag(message: str) -> UsageError:
    return UsageError(EXIT_BAD_FLAG, message, stderr=f"{message}\n{USAGE}")
