"""All the words the command line knows: the settings, their former names, and words of no consequence."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from rusd.config.config import FLAGS
from rusd.config.gates import GATE_FLAGS
from rusd.config.kinds import BOOL, STRING, Kind

TWIN_PREFIX = "experimental-"

CONFIG_FILE = "config-file"
VERSION = "version"

IGNORED = frozenset(
    {
        "cluster-active-size",
        "cluster-remove-delay",
        "cluster-sync-interval",
        "config",
        "force",
        "max-result-buffer",
        "max-retry-attempts",
        "peer-election-timeout",
        "peer-heartbeat-interval",
        "retry-interval",
        "snapshot",
        "test.coverprofile",
        "test.outputdir",
        "v",
        "vv",
    }
)
"""Flags of etcd's past that are still accepted."""

TWINS: Mapping[str, str] = MappingProxyType(
    {TWIN_PREFIX + name: name for name, flag in FLAGS.items() if flag.has_experimental_twin}
)
"""Former name → present name."""

# A boolean in Go's eyes (it may stand alone), but any value does.
_ANYTHING: Kind[str] = Kind("bool", str, str)

KINDS: Mapping[str, Kind[Any]] = MappingProxyType(
    {name: flag.kind for name, flag in FLAGS.items()}
    | {twin: FLAGS[name].kind for twin, name in TWINS.items()}
    | dict.fromkeys(GATE_FLAGS, BOOL)
    | dict.fromkeys(IGNORED, _ANYTHING)
    | {CONFIG_FILE: STRING, VERSION: BOOL}
)
"""Every flag that can be given → the kind of its value."""
