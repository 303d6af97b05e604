"""The flags of a member by itself and in its cluster."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import attrs

from rusd.config.flags import flag
from rusd.config.kinds import (
    BOOL,
    DURATION,
    FEATURE_GATES,
    INT,
    INT64,
    STRING,
    STRINGS,
    UINT,
    UINT32,
    UINT64,
    URLS,
    one_of,
)
from rusd.config.urls import Url

NO_BBOLT = "rusd does not keep its data in bbolt"
NO_DISCOVERY_YET = "discovery is not there yet"

_PEER_URLS = (Url("http", "localhost", 2380),)
_CLIENT_URLS = (Url("http", "localhost", 2379),)


@attrs.frozen(slots=False, kw_only=True, repr=False, eq=False)
class MemberFlags:
    """Member."""

    name: str = flag(STRING, "default", "the member's name, for people")
    data_dir: str = flag(STRING, "", "data directory (default <name>.etcd); :memory: keeps nothing")
    wal_dir: str = flag(
        STRING, "", "directory of the write-ahead log", not_yet="it stays in the data directory"
    )
    snapshot_count: int = flag(UINT64, 10000, "applied entries between snapshots on disk", deprecated=True)
    heartbeat_interval: int = flag(UINT, 100, "milliseconds between a leader's heartbeats")
    election_timeout: int = flag(UINT, 1000, "milliseconds without a heartbeat before an election")
    initial_election_tick_advance: bool = flag(BOOL, True, "shorten the wait for the first election")
    listen_peer_urls: tuple[Url, ...] = flag(URLS, _PEER_URLS, "where to listen for other members")
    listen_client_urls: tuple[Url, ...] = flag(URLS, _CLIENT_URLS, "where to listen for clients")
    listen_client_http_urls: tuple[Url, ...] = flag(
        URLS, (), "where to listen for HTTP alone", not_yet="HTTP and gRPC share the client URLs"
    )
    max_snapshots: int = flag(
        UINT, 5, "snapshot files to keep", deprecated=True, no_meaning="rusd keeps the two it needs"
    )
    max_wals: int = flag(UINT, 5, "log files to keep", no_meaning="rusd keeps those it needs")
    quota_backend_bytes: int = flag(
        INT64, 2 << 30, "bytes of data before the NOSPACE alarm; negative for no limit", zero_is_default=True
    )
    backend_bbolt_freelist_type: str = flag(STRING, "map", "array or map", no_meaning=NO_BBOLT)
    backend_batch_interval: float = flag(
        DURATION, 0.1, "longest wait for a commit", zero_is_default=True, no_meaning=NO_BBOLT
    )
    backend_batch_limit: int = flag(
        INT, 10000, "most operations in a commit", zero_is_default=True, no_meaning=NO_BBOLT
    )
    max_txn_ops: int = flag(UINT, 128, "most operations in a transaction")
    max_request_bytes: int = flag(UINT, 1572864, "largest request in bytes")
    max_concurrent_streams: int = flag(UINT32, 4294967295, "most open calls of a connection")
    grpc_keepalive_min_time: float = flag(DURATION, 5.0, "clients that ping more often are turned away")
    grpc_keepalive_interval: float = flag(DURATION, 7200.0, "how often to ping clients; 0 for never")
    grpc_keepalive_timeout: float = flag(DURATION, 20.0, "wait for the answer to a ping; 0 for no limit")
    socket_reuse_port: bool = flag(BOOL, False, "set SO_REUSEPORT on listeners")
    socket_reuse_address: bool = flag(BOOL, False, "set SO_REUSEADDR on listeners (rusd always does)")
    raft_read_timeout: float = flag(DURATION, 5.0, "longest silence of another member")
    raft_write_timeout: float = flag(DURATION, 5.0, "longest wait to send to another member")
    feature_gates: Mapping[str, bool] = flag(
        FEATURE_GATES, MappingProxyType({}), "Name=true|false,... of features on trial"
    )
    memory_mlock: bool = flag(BOOL, False, "keep pages in memory", no_meaning=NO_BBOLT, twin=True)
    enable_grpc_gateway: bool = flag(BOOL, True, "serve the JSON gateway under /v3/")


@attrs.frozen(slots=False, kw_only=True, repr=False, eq=False)
class ClusteringFlags:
    """Clustering."""

    initial_advertise_peer_urls: tuple[Url, ...] = flag(URLS, _PEER_URLS, "peer URLs to tell other members")
    advertise_client_urls: tuple[Url, ...] = flag(URLS, _CLIENT_URLS, "client URLs to tell clients")
    initial_cluster: str = flag(
        STRING, f"default={_PEER_URLS[0]}", "name=url,... of the first members; a name may repeat"
    )
    initial_cluster_state: str = flag(one_of("new", "existing"), "new", "new, or existing to join")
    initial_cluster_token: str = flag(STRING, "etcd-cluster", "makes the ids of this cluster its own")
    force_new_cluster: bool = flag(BOOL, False, "go on as a cluster of one (unsafe)")
    strict_reconfig_check: bool = flag(BOOL, True, "refuse member changes that endanger the quorum")
    pre_vote: bool = flag(BOOL, True, "ask before an election whether it could be won")
    max_learners: int = flag(INT, 1, "most learners at a time")
    auto_compaction_mode: str = flag(STRING, "periodic", "periodic or revision")
    auto_compaction_retention: str = flag(
        STRING, "0", "history to keep: hours or a duration, or a number of revisions; 0 for all"
    )
    discovery: str = flag(STRING, "", "URL of v2 discovery", not_yet=NO_DISCOVERY_YET, deprecated=True)
    discovery_proxy: str = flag(
        STRING, "", "proxy for v2 discovery", not_yet=NO_DISCOVERY_YET, deprecated=True
    )
    discovery_fallback: str = flag(one_of("exit", "proxy"), "exit", "what to do when v2 discovery fails")
    discovery_srv: str = flag(
        STRING, "", "DNS domain with SRV records of the members", not_yet=NO_DISCOVERY_YET
    )
    discovery_srv_name: str = flag(STRING, "", "suffix of the SRV names", not_yet=NO_DISCOVERY_YET)
    discovery_token: str = flag(STRING, "", "v3 discovery: the cluster's token", not_yet=NO_DISCOVERY_YET)
    discovery_endpoints: tuple[str, ...] = flag(
        STRINGS, (), "v3 discovery: where to ask", not_yet=NO_DISCOVERY_YET
    )
    discovery_dial_timeout: float = flag(DURATION, 2.0, "v3 discovery")
    discovery_request_timeout: float = flag(DURATION, 5.0, "v3 discovery")
    discovery_keepalive_time: float = flag(DURATION, 2.0, "v3 discovery")
    discovery_keepalive_timeout: float = flag(DURATION, 6.0, "v3 discovery")
    discovery_insecure_transport: bool = flag(BOOL, True, "v3 discovery: no TLS")
    discovery_insecure_skip_tls_verify: bool = flag(BOOL, False, "v3 discovery: trust any certificate")
    discovery_cert: str = flag(STRING, "", "v3 discovery: certificate file", not_yet=NO_DISCOVERY_YET)
    discovery_key: str = flag(STRING, "", "v3 discovery: key file", not_yet=NO_DISCOVERY_YET)
    discovery_cacert: str = flag(STRING, "", "v3 discovery: CA file", not_yet=NO_DISCOVERY_YET)
    discovery_user: str = flag(STRING, "", "v3 discovery: user", not_yet=NO_DISCOVERY_YET)
    discovery_password: str = flag(STRING, "", "v3 discovery: password", not_yet=NO_DISCOVERY_YET)
    v2_deprecation: str = flag(
        one_of("write-only", "write-only-skip-check", "write-only-drop-data", "gone"),
        "write-only",
        "stage of the v2 store's end",
        deprecated=True,
        no_meaning="rusd has no v2 store",
    )
