"""From the values somebody gave to one :class:`Config`.

On the way: former names, flags that became gates, warnings of flags that do
nothing, and defaults that depend on other values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rusd.config.config import FLAGS, Config
from rusd.config.errors import Notice, refusal
from rusd.config.flags import Standing
from rusd.config.gates import GATE_FLAGS
from rusd.config.urls import Url
from rusd.config.vocabulary import IGNORED, TWINS


def merge(given: Mapping[str, Any], notices: list[Notice], *, from_file: bool) -> Config:
    """The configuration in which ``given`` (flag name → value) were given; not validated yet.

    What is to be logged goes to ``notices``.  Raises :class:`UsageError` with exit code 1 for two
    forms of one flag.
    """
    values = dict(given)
    for name in sorted(IGNORED & values.keys()):
        del values[name]
        notices.append(Notice("warn", f'flag "-{name}" is no longer supported - ignoring.'))
    _rename_twins(values, notices)
    _turn_flags_into_gates(values, notices)
    _warn_of_standing(values, notices)
    explicit = frozenset(values)
    fields = {FLAGS[name].attribute: value for name, value in values.items()}
    if not from_file:
        fields |= _advertised(values)
    config = Config(**fields, explicit=explicit)
    if config.data_dir:
        return config
    notices.append(Notice("warn", "'data-dir' was empty; using default", {"data_dir": config.directory}))
    return Config(**fields | {"data_dir": config.directory}, explicit=explicit)


def _rename_twins(values: dict[str, Any], notices: list[Notice]) -> None:
    for twin, name in TWINS.items():
        if twin not in values:
            continue
        if name in values:
            raise refusal(f"both --{twin} and --{name} flags are set. Use only --{name}")
        values[name] = values.pop(twin)
        notices.append(_deprecation(twin, f"--{name}"))


def _turn_flags_into_gates(values: dict[str, Any], notices: list[Notice]) -> None:
    for name, gate in GATE_FLAGS.items():
        if name not in values:
            continue
        on = values.pop(name)
        gates = values.get("feature-gates", {})
        if gate in gates:
            word = str(gates[gate]).lower()
            raise refusal(
                f"cannot specify both flags: --feature-gates=({gate}={word}) "
                f"and --{name}=({str(on).lower()}), please just use --feature-gates=({gate}={word})"
            )
        values["feature-gates"] = {**gates, gate: on}
        notices.append(_deprecation(name, f"--feature-gates={gate}=true"))


def _deprecation(name: str, instead: str) -> Notice:
    return Notice(
        "warn",
        f"--{name} is deprecated in v3.6 and will be decommissioned in v3.7. Use '{instead}' instead.",
    )


def _warn_of_standing(values: Mapping[str, Any], notices: list[Notice]) -> None:
    for name in values:
        flag = FLAGS[name]
        if flag.standing is Standing.NO_MEANING:
            notices.append(Notice("warn", f"--{name} has no effect: {flag.why}"))
        elif flag.deprecated:
            notices.append(
                Notice("warn", f"--{name} is deprecated in 3.6 and will be decommissioned in 3.7.")
            )


def _advertised(values: Mapping[str, Any]) -> dict[str, tuple[Url, ...]]:
    """What to advertise to clients when only the listeners were given on the command line.

    etcd then advertises nothing, which it refuses.  But whoever listens on port 0 can't know what to
    advertise: the listeners stand in, until the ports are known (:func:`rusd.config.with_ports`).
    """
    if "listen-client-urls" not in values or "advertise-client-urls" in values:
        return {}
    listen: tuple[Url, ...] = values["listen-client-urls"]
    anywhere = any(url.port == 0 and not url.is_unix for url in listen)
    return {"advertise_client_urls": listen if anywhere else ()}
