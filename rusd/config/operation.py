"""The flags of watching over a member and of tuning it, and those only rusd has."""

from __future__ import annotations

import attrs

from rusd.config.flags import flag
from rusd.config.kinds import BOOL, DURATION, INT, STRING, UINT, UINT64, UNIQUE_STRINGS, URLS
from rusd.config.urls import Url

NO_TRACING_YET = "tracing is not there yet"
NO_ROTATION_YET = "log files are not there yet: send standard error to one"
ROTATION_DEFAULT = '{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}'


@attrs.frozen(slots=False, kw_only=True, repr=False, eq=False)
class MonitoringFlags:
    """Monitoring and logging."""

    enable_pprof: bool = flag(
        BOOL, False, "serve Go's profiles under /debug/pprof/", no_meaning="there is no Go runtime to profile"
    )
    metrics: str = flag(STRING, "basic", "basic, or extensive for histograms of each method")
    listen_metrics_urls: tuple[Url, ...] = flag(
        URLS, (), "more places to serve /metrics and health", not_yet="they are served on the client URLs"
    )
    logger: str = flag(STRING, "zap", "only zap: etcd's structured log")
    log_outputs: tuple[str, ...] = flag(UNIQUE_STRINGS, ("default",), "default, stderr or stdout")
    log_level: str = flag(STRING, "info", "debug, info, warn, error, panic or fatal")
    log_format: str = flag(STRING, "json", "json or console")
    enable_log_rotation: bool = flag(BOOL, False, "rotate the log file", not_yet=NO_ROTATION_YET)
    log_rotation_config_json: str = flag(
        STRING, ROTATION_DEFAULT, "how to rotate it", not_yet=NO_ROTATION_YET
    )
    warning_apply_duration: float = flag(DURATION, 0.1, "log what takes longer to apply", twin=True)
    warning_unary_request_duration: float = flag(
        DURATION, 0.3, "log calls that take longer", zero_is_default=True, twin=True
    )
    enable_distributed_tracing: bool = flag(BOOL, False, "send traces", not_yet=NO_TRACING_YET, twin=True)
    distributed_tracing_address: str = flag(
        STRING, "localhost:4317", "where to", not_yet=NO_TRACING_YET, twin=True
    )
    distributed_tracing_service_name: str = flag(STRING, "etcd", "as whom", not_yet=NO_TRACING_YET, twin=True)
    distributed_tracing_instance_id: str = flag(STRING, "", "as which one", not_yet=NO_TRACING_YET, twin=True)
    distributed_tracing_sampling_rate: int = flag(
        INT, 0, "how many of a million", not_yet=NO_TRACING_YET, twin=True
    )


@attrs.frozen(slots=False, kw_only=True, repr=False, eq=False)
class TuningFlags:
    """Integrity and tuning."""

    corrupt_check_time: float = flag(
        DURATION, 0.0, "how often members compare their data; 0 for never", twin=True
    )
    compact_hash_check_time: float = flag(
        DURATION, 60.0, "how often they compare compaction hashes", twin=True
    )
    compaction_batch_limit: int = flag(
        INT, 1000, "revisions removed at a time", zero_is_default=True, twin=True
    )
    compaction_sleep_interval: float = flag(
        DURATION, 0.01, "pause between such batches", zero_is_default=True, twin=True
    )
    watch_progress_notify_interval: float = flag(
        DURATION, 600.0, "how often a quiet watch is told so, at least 100ms", zero_is_default=True, twin=True
    )
    bootstrap_defrag_threshold_megabytes: int = flag(
        UINT,
        0,
        "defragment at start if this would free so much",
        no_meaning="there is no file to defragment",
        twin=True,
    )
    snapshot_catchup_entries: int = flag(UINT64, 5000, "entries kept for slow members", twin=True)
    downgrade_check_time: float = flag(
        DURATION, 5.0, "how often a downgrade's progress is looked at", twin=True
    )
    unsafe_no_fsync: bool = flag(BOOL, False, "don't sync files (loses data when the machine crashes)")


@attrs.frozen(slots=False, kw_only=True, repr=False, eq=False)
class RusdFlags:
    """Only in rusd."""

    ready_file: str = flag(
        STRING, "", "file to write once clients are served: who this is and where, as JSON"
    )
