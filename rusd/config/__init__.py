"""The configuration: etcd's flags, ``ETCD_*`` variables and YAML file → one frozen :class:`Config`.

Read it in this order: ``flags`` (what a flag is), ``member``, ``security`` and ``operation`` (all the
flags), ``config`` (the value they make up), ``parsing`` (the way there: ``arguments``, ``variables`` or
``yaml_file``, then ``merging`` and ``validation``), ``initial_cluster`` (what matters to a new member).
``kinds``, ``urls`` and ``gates`` read single values; ``help`` prints the table.

Nothing here does I/O or ends the process.
"""

from rusd.config.config import FLAGS, IN_MEMORY, Config, Retention
from rusd.config.errors import ExitRequest, Notice, UsageError
from rusd.config.gates import GATES
from rusd.config.initial_cluster import (
    check_unique,
    format_initial_cluster,
    listed_members,
    mismatch,
    parse_initial_cluster,
    with_default_host,
    with_name,
    with_ports,
)
from rusd.config.parsing import Parsed, parse
from rusd.config.urls import Url, format_urls, parse_url, parse_urls
from rusd.config.validation import validate

__all__ = [
    "FLAGS",
    "GATES",
    "IN_MEMORY",
    "Config",
    "ExitRequest",
    "Notice",
    "Parsed",
    "Retention",
    "Url",
    "UsageError",
    "check_unique",
    "format_initial_cluster",
    "format_urls",
    "listed_members",
    "mismatch",
    "parse",
    "parse_initial_cluster",
    "parse_url",
    "parse_urls",
    "validate",
    "with_default_host",
    "with_name",
    "with_ports",
]
