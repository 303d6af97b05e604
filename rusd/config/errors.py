"""How the reading of a configuration ends when it doesn't end in a configuration, and what it has to tell.

Nothing here prints or exits: :mod:`rusd.cli` does, with what these carry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from rusd.logs import Logger

EXIT_BAD_CONFIGURATION = 1
EXIT_BAD_FLAG = 2


@attrs.frozen
class Notice:
    """A line for the log, found before there was a log: level, message and fields as etcd has them."""

    level: str
    msg: str
    fields: Mapping[str, object] = attrs.field(factory=dict)

    def write(self, log: Logger) -> None:
        """Write this line to ``log``."""
        getattr(log, self.level)(self.msg, **self.fields)


class UsageError(Exception):
    """The configuration can't be used; the process ends with ``exit_code``.

    With exit code 2, that of a malformed command line, ``stderr`` is the text to print.  With exit
    code 1 it is empty and ``notices`` hold the log lines, the last of which has the message.
    """

    def __init__(
        self, exit_code: int, message: str, *, stderr: str = "", notices: Sequence[Notice] = ()
    ) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.message = message
        self.stderr = stderr
        self.notices = tuple(notices)


class ExitRequest(Exception):  # noqa: N818  (no error: somebody asked)
    """``--help`` or ``--version``: write ``stderr``, then ``output`` to standard output; exit code 0."""

    def __init__(self, output: str, *, stderr: str = "") -> None:
        super().__init__(output)
        self.output = output
        self.stderr = stderr


def refusal(message: str, *, level: str = "warn", log: str = "failed to verify flags") -> UsageError:
    """A :class:`UsageError` with exit code 1, logged the way etcd logs flags that don't verify."""
    return UsageError(EXIT_BAD_CONFIGURATION, message, notices=[Notice(level, log, {"error": message})])


def failed_start(message: str) -> UsageError:
    """A :class:`UsageError` with exit code 1 for what etcd only finds out as it starts."""
    return refusal(message, level="fatal", log="discovery failed")
