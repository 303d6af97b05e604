"""Feature gates: switches for features on trial, given as ``--feature-gates=Name=true,Other=false``."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import attrs


@attrs.frozen
class Gate:
    """A gate as etcd 3.6 has it; ``supported`` says whether rusd can honour it when it is on."""

    default: bool
    stage: str
    supported: bool = True


GATES: Mapping[str, Gate] = MappingProxyType(
    {
        "CompactHashCheck": Gate(False, "ALPHA"),
        "InitialCorruptCheck": Gate(False, "ALPHA"),
        "LeaseCheckpoint": Gate(False, "ALPHA"),
        "LeaseCheckpointPersist": Gate(False, "ALPHA"),
        "SetMemberLocalAddr": Gate(False, "ALPHA", supported=False),
        "StopGRPCServiceOnDefrag": Gate(False, "ALPHA"),
        "TxnModeWriteWithSharedBuffer": Gate(True, "BETA"),
    }
)

STAGE_GATES: Mapping[str, str] = MappingProxyType({"AllAlpha": "ALPHA", "AllBeta": "BETA"})
"""Names that switch all gates of a stage, those given by name excepted."""

GATE_FLAGS: Mapping[str, str] = MappingProxyType(
    {
        "experimental-compact-hash-check-enabled": "CompactHashCheck",
        "experimental-enable-lease-checkpoint": "LeaseCheckpoint",
        "experimental-enable-lease-checkpoint-persist": "LeaseCheckpointPersist",
        "experimental-initial-corrupt-check": "InitialCorruptCheck",
        "experimental-stop-grpc-service-on-defrag": "StopGRPCServiceOnDefrag",
        "experimental-txn-mode-write-with-shared-buffer": "TxnModeWriteWithSharedBuffer",
    }
)
"""Deprecated flags, each now a gate."""

_WORDS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


def parse_bool(text: str) -> bool:
    """One of the words Go takes for a truth value.  Raises :class:`ValueError`."""
    if text not in _WORDS:
        raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')
    return _WORDS[text]


def parse_gates(text: str) -> Mapping[str, bool]:
    """The gates named in ``text``, as given.  Raises :class:`ValueError` for unknown ones."""
    given: dict[str, bool] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, separator, word = (piece.strip() for piece in part.partition("="))
        if not separator:
            raise ValueError(f"missing bool value for {name}")
        if name not in GATES and name not in STAGE_GATES:
            raise ValueError(f"unrecognized feature gate: {name}")
        try:
            given[name] = parse_bool(word)
        except ValueError as error:
            raise ValueError(f"invalid value of {name}={word}, err: {error}") from None
    return MappingProxyType(given)


def format_gates(given: Mapping[str, bool]) -> str:
    """The reverse of :func:`parse_gates`, sorted by name."""
    return ",".join(f"{name}={str(on).lower()}" for name, on in sorted(given.items()))


def enabled_gates(given: Mapping[str, bool]) -> frozenset[str]:
    """The gates that are on, when ``given`` were given and the rest is left at its default."""
    stages = {STAGE_GATES[name]: on for name, on in given.items() if name in STAGE_GATES}
    return frozenset(
        name for name, gate in GATES.items() if given.get(name, stages.get(gate.stage, gate.default))
    )
