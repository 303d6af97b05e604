"""The way from a process's arguments and environment to its configuration.

Pure: no file, no output, no exit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs

from rusd.config.arguments import read_arguments
from rusd.config.config import Config
from rusd.config.errors import ExitRequest, Notice, refusal
from rusd.config.merging import merge
from rusd.config.validation import validate
from rusd.config.variables import read_variables, variable_of
from rusd.config.vocabulary import CONFIG_FILE, VERSION
from rusd.config.yaml_file import read_file_settings
from rusd.version import version_text

SUB_COMMANDS = ("gateway", "grpc-proxy")


@attrs.frozen
class Parsed:
    """A valid configuration, and what is to be logged about how it came to be."""

    config: Config
    notices: tuple[Notice, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """The texts of the notices that are warnings."""
        return tuple(notice.msg for notice in self.notices if notice.level == "warn")


def parse(argv: Sequence[str], environ: Mapping[str, str], read_file: Callable[[str], str]) -> Parsed:
    """Read the configuration of a server.

    ``argv`` are the words after the program's name.  ``read_file`` returns the text of the file it is
    given the path of, or raises :class:`OSError`; it is called for the configuration file only.
    Raises :class:`UsageError` if the process must not start, :class:`ExitRequest` if it was
    only asked for its version or help.
    """
    if argv and argv[0] in SUB_COMMANDS:
        raise refusal(f'sub command "{argv[0]}" is not supported')
    arguments = read_arguments(argv)
    if arguments.rest:
        raise refusal(f'"{arguments.rest[0]}" is not a valid flag')
    given = dict(arguments.values)
    if given.pop(VERSION, False):
        raise ExitRequest(version_text() + "\n")
    notices: list[Notice] = []
    path = given.pop(CONFIG_FILE, "") or environ.get(variable_of(CONFIG_FILE), "")
    if path:
        values = read_file_settings(path, read_file, notices)
    else:
        values = given | read_variables(environ, given, notices)
    config = merge(values, notices, from_file=bool(path))
    return Parsed(validate(config, notices), tuple(notices))
