"""The texts of ``--help``: how to call rusd, and every flag by section, made from the table."""

from __future__ import annotations

import textwrap

from rusd.config.config import FLAGS, SECTIONS
from rusd.config.flags import Flag, Standing, flags_of

USAGE = """\
Usage:

  rusd [flags]
    Start a server.

  rusd --version
    Show the version.

  rusd -h | --help
    Show all flags.

  rusd --config-file PATH
    Take the settings from a YAML file. All other flags and the environment are ignored then.

A flag can also be given as an environment variable: --data-dir as ETCD_DATA_DIR.
"""

_WIDTH = 100


def _described(flag: Flag) -> str:
    about = flag.about
    if flag.standing is not Standing.SUPPORTED:
        about += f" [{'not supported yet' if flag.standing is Standing.NOT_YET else 'no effect'}: {flag.why}]"
    lines = textwrap.wrap(about, _WIDTH, initial_indent="    ", subsequent_indent="    ")
    return "\n".join([f"  --{flag.name} '{flag.kind.show(flag.default)}'", *lines])


def _flag_help() -> str:
    parts: list[str] = []
    for section in SECTIONS:
        flags = list(flags_of(section).values())
        parts += [f"{flags[0].section}:", *(_described(FLAGS[flag.name]) for flag in flags), ""]
    return "\n".join(parts)


FLAG_HELP = _flag_help()
