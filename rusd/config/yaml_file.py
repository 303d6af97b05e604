"""The configuration file: YAML (so JSON too) with the flags' names as keys.

Values have their natural type, lists of URLs and the like are one comma
separated string, durations are nanoseconds or text.  A few groups of flags have
sections of their own.  Each value is turned into the text its flag would have
on the command line and read as that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from rusd.config.errors import Notice, refusal
from rusd.config.kinds import Kind
from rusd.config.vocabulary import CONFIG_FILE, IGNORED, KINDS, VERSION

LOADED = (
    "loaded server configuration, other configuration command line flags "
    "and environment variables will be ignored if provided"
)

_DECODING = "error unmarshaling JSON: while decoding JSON: json: "

_WITHOUT_KEY = IGNORED | {
    CONFIG_FILE,
    VERSION,
    "raft-read-timeout",
    "raft-write-timeout",
    "discovery-fallback",
}

_RESPELLED = {"experimental-snapshot-catch-up-entries": "experimental-snapshot-catchup-entries"}

# Section → its key → the flag that means the same; "" for what only a file can say.
_TLS_KEYS = (
    "cert-file",
    "key-file",
    "client-cert-file",
    "client-key-file",
    "client-cert-auth",
    "trusted-ca-file",
    "auto-tls",
)
_SECTIONS: dict[str, dict[str, str]] = {
    "client-transport-security": {
        **{key: key for key in _TLS_KEYS},
        "allowed-hostname": "client-cert-allowed-hostname",
        "allowed-cn": "",
        "skip-client-san-verification": "",
    },
    "peer-transport-security": {
        **{key: f"peer-{key}" for key in _TLS_KEYS},
        "allowed-cn": "peer-cert-allowed-cn",
        "allowed-hostname": "peer-cert-allowed-hostname",
        "skip-client-san-verification": "peer-skip-client-san-verification",
    },
    "socket-options": {"reuse-port": "socket-reuse-port", "reuse-address": "socket-reuse-address"},
    "discovery-config": {"token": "discovery-token", "client": ""},
}


def read_file_settings(path: str, read_file: Callable[[str], str], notices: list[Notice]) -> dict[str, Any]:
    """The settings in the file ``path``, by flag name.

    ``read_file`` may raise :class:`OSError`.  Raises :class:`UsageError` with exit code 1.
    """
    try:
        text = read_file(path)
    except OSError as error:
        raise refusal(f"open {path}: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise refusal(f"error converting YAML to JSON: yaml: {path} is not UTF-8 text") from None
    document = _load(text)
    values = {name: _read(key, name, value) for key, name, value in _entries(document, notices)}
    notices.append(Notice("info", LOADED, {"path": path}))
    return values


def _load(text: str) -> dict[Any, Any]:
    import yaml  # here, because only those who use a file should pay for it

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        detail = " ".join(str(error).split())
        raise refusal(f"error converting YAML to JSON: yaml: {detail}") from None
    except (ValueError, LookupError, AttributeError, RecursionError) as error:
        # What PyYAML lets through of a date like 2001-99-99, a tag like !!int on a word, or deep nesting.
        raise refusal(f"error converting YAML to JSON: yaml: cannot decode a value: {error}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        target = "Go value of type embed.configYAML"
        raise refusal(f"{_DECODING}cannot unmarshal {_json_type(document)} into {target}")
    return document


def _entries(document: dict[Any, Any], notices: list[Notice]) -> Iterator[tuple[str, str, object]]:
    """Key as written, flag name, value of all that is set in the file."""
    for key, value in document.items():
        name = _RESPELLED.get(str(key), str(key))
        if value is None:
            continue
        if name in _SECTIONS:
            yield from _section_entries(name, value, notices)
        elif name in KINDS and name not in _WITHOUT_KEY:
            yield name, name, value
        else:
            notices.append(Notice("warn", "unknown key in configuration file", {"key": name}))


def _section_entries(
    section: str, content: object, notices: list[Notice]
) -> Iterator[tuple[str, str, object]]:
    if not isinstance(content, dict):
        raise refusal(f"invalid {section}")
    for key, value in content.items():
        name = _SECTIONS[section].get(str(key))
        if name is None:
            notices.append(Notice("warn", "unknown key in configuration file", {"key": f"{section}.{key}"}))
        elif name:
            if value is not None:
                yield f"{section}.{key}", name, value
        elif value:
            raise refusal(f"{section}.{key} in the configuration file is not supported yet")


def _read(key: str, name: str, value: object) -> object:
    kind = KINDS[name]
    text = _flag_text(kind, value)
    if text is None:
        target = f"Go struct field configYAML.{key} of type {kind.go_type}"
        raise refusal(f"{_DECODING}cannot unmarshal {_json_type(value)} into {target}")
    try:
        return kind.read(text)
    except ValueError as error:
        raise refusal(f"unexpected error setting up {key}: {error}") from None


def _flag_text(kind: Kind[Any], value: object) -> str | None:
    """``value`` as the command line would have it; None if it has the wrong type."""
    match value, kind.go_type:
        case (bool(), "bool" | "string"):
            return "true" if value else "false"
        case (bool(), _):
            return None
        case (int(), "time.Duration"):
            return f"{value}ns"
        case (int(), "int" | "int64" | "uint" | "uint32" | "uint64" | "string"):
            return str(value)
        case (float(), "string"):
            return repr(value)
        case (str(), "string" | "time.Duration"):
            return value
        case (list(), "[]string") if all(isinstance(item, str) for item in value):
            return ",".join(value)
        case (str(), "[]string"):  # the form these have as flags
            return value
    return None


def _json_type(value: object) -> str:
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case list():
            return "array"
        case dict():
            return "object"
    return "string"
