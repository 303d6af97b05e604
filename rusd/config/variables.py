"""The environment: ``ETCD_<FLAG>`` for each flag, upper case, dashes as underscores; empty means unset."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from rusd.config.errors import EXIT_BAD_CONFIGURATION, Notice, UsageError, refusal
from rusd.config.vocabulary import KINDS

PREFIX = "ETCD_"
VERSION_VARIABLE = "ETCD_VERSION"  # a build setting that must not turn into --version

CONFLICT = (
    "conflicting environment variable is shadowed by corresponding command-line flag "
    "(either unset environment variable or disable flag))"
)


def variable_of(name: str) -> str:
    """The variable that stands for the flag ``name``."""
    return PREFIX + name.upper().replace("-", "_")


def read_variables(
    environ: Mapping[str, str], given: Container[str], notices: list[Notice]
) -> dict[str, Any]:
    """The values that ``environ`` has for flags, by flag name; what is to be logged goes to ``notices``.

    ``given`` are the flags of the command line: one of them set here too is an error.  Raises
    :class:`UsageError` with exit code 1.
    """
    values: dict[str, Any] = {}
    variables = {variable_of(name): name for name in sorted(KINDS)}
    for variable, name in variables.items():
        text = environ.get(variable, "")
        if not text or variable == VERSION_VARIABLE:
            continue
        if name in given:
            raise UsageError(
                EXIT_BAD_CONFIGURATION,
                f"{CONFLICT}: {variable}",
                notices=[Notice("fatal", CONFLICT, {"environment_variable": variable})],
            )
        try:
            values[name] = KINDS[name].read(text)
        except ValueError as error:
            raise refusal(f'invalid value "{text}" for {variable}: {error}') from None
        fields = {"variable_name": variable, "variable_value": text}
        notices.append(Notice("info", "recognized and used environment variable", fields))
    _report_others(environ, variables, notices)
    return values


def _report_others(environ: Mapping[str, str], known: Container[str], notices: list[Notice]) -> None:
    if environ.get(VERSION_VARIABLE):
        fields = {"key": VERSION_VARIABLE, "value": environ[VERSION_VARIABLE]}
        notices.append(Notice("warn", "cannot set special environment variable", fields))
    for variable, text in environ.items():
        if variable.startswith(PREFIX) and variable not in known:
            fields = {"environment_variable": f"{variable}={text}"}
            notices.append(Notice("warn", "unrecognized environment variable", fields))
