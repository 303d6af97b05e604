"""Whether the settings make sense together: etcd's checks, in etcd's order and words.

Before those, what this release does not support is refused by name.
"""

from __future__ import annotations

from typing import Any

import attrs

from rusd.config.config import FLAGS, Config
from rusd.config.errors import EXIT_BAD_FLAG, Notice, UsageError, failed_start, refusal
from rusd.config.flags import Standing
from rusd.config.gates import GATES
from rusd.config.initial_cluster import parse_initial_cluster, with_name
from rusd.config.urls import Url, check_advertise, check_bind, format_urls
from rusd.logs import FORMATS, LEVELS

MAXIMUM_ELECTION_MS = 50_000
MINIMUM_ELECTION_HEARTBEATS = 5
MINIMUM_PEER_TIMEOUT_SECONDS = 5.0
MINIMUM_PROGRESS_SECONDS = 0.1
RECOMMENDED_REQUEST_BYTES = 10 << 20
RECOMMENDED_QUOTA_BYTES = 8 << 30
BCRYPT_COSTS = range(4, 32)
DEFAULT_BCRYPT_COST = 10

LOG_OUTPUTS = ("default", "stderr", "stdout")
TLS_VERSIONS = ("TLS1.2", "TLS1.3")


def validate(config: Config, notices: list[Notice]) -> Config:
    """``config`` with harmless values put right and the default cluster under its own name; idempotent.

    What is to be logged goes to ``notices``.  Raises :class:`UsageError`.
    """
    _check_supported(config)
    _check_logging(config)
    _check_urls(config)
    _check_timing(config)
    if config.listen_client_urls and not config.advertise_client_urls:
        raise refusal("--advertise-client-urls is required when --listen-client-urls is set explicitly")
    if config.auto_compaction_mode not in ("periodic", "revision"):
        mode = config.auto_compaction_mode
        raise refusal(f'unknown auto-compaction-mode "{mode}"' if mode else "undefined auto-compaction-mode")
    _check_gates(config)
    if config.compact_hash_check_time <= 0:
        raise refusal(f"--compact-hash-check-time must be >0 (set to {config.compact_hash_check_time:g}s)")
    _check_tls_versions(config)
    _check_start(config)
    _warn(config, notices)
    return with_name(_put_right(config, notices))


def _check_supported(config: Config) -> None:
    for name, flag in FLAGS.items():
        if flag.standing is Standing.NOT_YET and getattr(config, flag.attribute) != flag.default:
            raise refusal(f"--{name} is not supported yet: {flag.why}")


def _check_logging(config: Config) -> None:
    if config.logger != "zap":
        was_capnslog = config.logger == "capnslog"
        name = config.logger
        raise refusal(
            "--logger=capnslog is removed in v3.5" if was_capnslog else f'unknown logger option "{name}"'
        )
    if config.log_level not in LEVELS:
        message = f'unrecognized level: "{config.log_level}"'  # where etcd panics
        raise UsageError(EXIT_BAD_FLAG, message, stderr=f"panic: {message}\n")
    if config.log_format not in FORMATS:
        raise refusal(f"unknown log format: {config.log_format}, supported values json, console")
    if "default" in config.log_outputs and len(config.log_outputs) > 1:
        raise refusal('multi logoutput for "default" is not supported yet')
    for output in config.log_outputs:
        if output not in LOG_OUTPUTS:
            raise refusal(f"--log-outputs={output} is not supported yet: use stderr or stdout")


def _check_urls(config: Config) -> None:
    for listen in (config.listen_peer_urls, config.listen_client_urls):
        try:
            check_bind(listen)
        except ValueError as error:
            raise refusal(str(error)) from None
        _check_scheme(listen)
    if not config.listen_client_urls:
        raise refusal("--listen-client-urls must name at least one address")
    advertised = format_urls(config.initial_advertise_peer_urls)
    _check_hosts(
        config.initial_advertise_peer_urls,
        f'--initial-advertise-peer-urls "{advertised}" must be "host:port"',
    )
    advertised = format_urls(config.advertise_client_urls)
    _check_hosts(
        config.advertise_client_urls,
        f'--advertise-client-urls "{advertised}" must be in the format '
        '"host:port", "unix:/path/to/socket" or "unixs:/path/to/socket"',
    )


def _check_scheme(urls: tuple[Url, ...]) -> None:
    for url in urls:
        if url.is_tls:
            raise refusal(f"listening on {url} is not supported yet: TLS is not there yet")
        if url.is_unix:
            raise refusal(f"listening on {url} is not supported yet: use a TCP address")


def _check_hosts(urls: tuple[Url, ...], form: str) -> None:
    try:
        check_advertise(urls)
    except ValueError as error:
        raise refusal(f"{form} ({error})") from None


def _check_timing(config: Config) -> None:
    heartbeat, election = config.heartbeat_interval, config.election_timeout
    if heartbeat == 0:
        raise refusal("--heartbeat-interval must be >0 (set to 0ms)")
    if election == 0:
        raise refusal("--election-timeout must be >0 (set to 0ms)")
    if MINIMUM_ELECTION_HEARTBEATS * heartbeat > election:
        raise refusal(
            f"--election-timeout[{election}ms] should be at least as 5 times as "
            f"--heartbeat-interval[{heartbeat}ms]"
        )
    if election > MAXIMUM_ELECTION_MS:
        raise refusal(
            f"--election-timeout[{election}ms] is too long, "
            f"and should be set less than {MAXIMUM_ELECTION_MS}ms"
        )


def _check_gates(config: Config) -> None:
    on = config.enabled_features
    if "LeaseCheckpointPersist" in on and "LeaseCheckpoint" not in on:
        raise refusal(
            "enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint"
        )
    for name in sorted(on):
        if not GATES[name].supported:
            raise refusal(f"feature gate {name} is not supported yet")


def _check_tls_versions(config: Config) -> None:
    low, high = config.tls_min_version, config.tls_max_version
    for version in (low, high):
        if version and version not in TLS_VERSIONS:
            raise refusal(f'unexpected TLS version "{version}" (must be one of: TLS1.2, TLS1.3)')
    if low and high and low > high:
        raise refusal(f"min version ({low}) is greater than max version ({high})")
    if low == "TLS1.3" and config.cipher_suites:
        raise refusal("cipher suites cannot be configured when only TLS1.3 is enabled")


def _check_start(config: Config) -> None:
    """What etcd finds out only when it starts."""
    if config.discovery_fallback == "proxy":
        raise refusal('v2 proxy is deprecated, and --discovery-fallback can\'t be configured as "proxy"')
    try:
        _ = config.compaction_retention
    except ValueError as error:
        raise failed_start(str(error)) from None
    kind, _, _ = config.auth_token.partition(",")
    if kind == "jwt":
        raise refusal("--auth-token=jwt is not supported yet: use simple")
    if kind not in ("simple", ""):
        raise failed_start("auth: invalid auth options")
    _check_cluster(config)


def _check_cluster(config: Config) -> None:
    """What a cluster of several members asks for; if it can't be read, that matters only to a new member."""
    try:
        members = parse_initial_cluster(config.initial_cluster)
    except ValueError:
        return
    for url in (url for urls in members.values() for url in urls):
        if url.is_tls or url.is_unix:
            raise refusal(f"peer URL {url} is not supported yet: use http and a TCP address")
    if len(members) < 2 and config.initial_cluster_state == "new":
        return
    own = (*config.listen_peer_urls, *config.initial_advertise_peer_urls)
    if any(url.port == 0 for url in (*own, *(url for urls in members.values() for url in urls))):
        raise refusal("port 0 in a peer URL is for a cluster of one member: the others could not find it")
    if config.in_memory:
        raise refusal("--data-dir=:memory: is for a cluster of one member: others rely on what is kept")


def _warn(config: Config, notices: list[Notice]) -> None:
    if config.name == "default":
        notices.append(
            Notice(
                "warn",
                "it isn't recommended to use default name, please set a value for --name. "
                "Note that etcd might run into issue when multiple members have the same default name",
                {"name": config.name},
            )
        )
    if config.max_request_bytes > RECOMMENDED_REQUEST_BYTES:
        fields = {
            "max_request_bytes": config.max_request_bytes,
            "recommended_request_bytes": RECOMMENDED_REQUEST_BYTES,
        }
        notices.append(Notice("warn", "exceeded recommended request limit", fields))
    if config.quota_backend_bytes > RECOMMENDED_QUOTA_BYTES:
        fields = {
            "quota_size_bytes": config.quota_backend_bytes,
            "quota_maximum_size_bytes": RECOMMENDED_QUOTA_BYTES,
        }
        notices.append(Notice("warn", "quota exceeds the maximum value", fields))
    if config.unsafe_no_fsync:
        notices.append(Notice("warn", "fsync is off: a crash of the machine loses acknowledged writes"))


def _put_right(config: Config, notices: list[Notice]) -> Config:
    changes: dict[str, Any] = {
        flag.attribute: flag.default
        for flag in FLAGS.values()
        if flag.zero_is_default and getattr(config, flag.attribute) == 0
    }
    config = attrs.evolve(config, **changes)
    if config.bcrypt_cost not in BCRYPT_COSTS:
        changes["bcrypt_cost"] = DEFAULT_BCRYPT_COST
        fields: dict[str, object] = {
            "min_cost": BCRYPT_COSTS[0],
            "max_cost": BCRYPT_COSTS[-1],
            "default_cost": DEFAULT_BCRYPT_COST,
            "given_cost": config.bcrypt_cost,
        }
        notices.append(Notice("warn", "use default bcrypt cost instead of the invalid given cost", fields))
    if config.watch_progress_notify_interval < MINIMUM_PROGRESS_SECONDS:
        changes["watch_progress_notify_interval"] = MINIMUM_PROGRESS_SECONDS
        fields = {"minimum_duration_value": "100ms"}
        notices.append(Notice("warn", "adjusting watch progress notify interval to minimum period", fields))
    for name in ("raft_read_timeout", "raft_write_timeout"):
        if getattr(config, name) < MINIMUM_PEER_TIMEOUT_SECONDS:
            changes[name] = MINIMUM_PEER_TIMEOUT_SECONDS
            flag = name.replace("_", "-")
            notices.append(Notice("info", f"{flag} increased to minimum value: 5s"))
    return attrs.evolve(config, **changes) if changes else config
