"""The configuration file: YAML or JSON, alone in what it says."""

from __future__ import annotations

import pytest

from rusd.config import UsageError, parse

WHOLE = """
name: a
data-dir: /var/lib/a
heartbeat-interval: 50
election-timeout: 500
listen-client-urls: http://127.0.0.1:2379,http://127.0.0.1:22379
advertise-client-urls: http://10.0.0.1:2379
grpc-keepalive-min-time: 2500000000
warning-apply-duration: 250ms
auto-compaction-retention: 1
pre-vote: false
log-outputs: [stderr]
feature-gates: CompactHashCheck=true
socket-options: {reuse-port: true}
cors: "*"
"""


def test_keys_are_flag_names_and_values_have_their_natural_type(ask) -> None:
    config = ask(file=WHOLE).config

    assert (config.name, config.data_dir, config.heartbeat_interval) == ("a", "/var/lib/a", 50)
    assert [url.port for url in config.listen_client_urls] == [22379, 2379]
    assert (config.grpc_keepalive_min_time, config.warning_apply_duration) == (2.5, 0.25)
    assert config.compaction_retention.seconds == 3600
    assert not config.pre_vote
    assert config.log_outputs == ("stderr",)
    assert "CompactHashCheck" in config.enabled_features
    assert config.socket_reuse_port


def test_json_is_yaml(ask) -> None:
    assert ask(file='{"name": "a", "max-txn-ops": 5}').config.max_txn_ops == 5


def test_flags_and_variables_are_ignored_beside_a_file(ask) -> None:
    parsed = ask("--max-txn-ops=3", environ={"ETCD_NAME": "b", "ETCD_MAX_REQUEST_BYTES": "x"}, file="name: a")

    assert (parsed.config.name, parsed.config.max_txn_ops) == ("a", 128)
    assert any("will be ignored if provided" in notice.msg for notice in parsed.notices)


def test_the_environment_can_name_the_file() -> None:
    parsed = parse([], {"ETCD_CONFIG_FILE": "x.yml", "ETCD_NAME": "b"}, {"x.yml": "name: a"}.__getitem__)

    assert parsed.config.name == "a"


def test_the_default_cluster_has_the_name_of_the_file(ask) -> None:
    assert ask(file="name: a").config.initial_cluster == "a=http://localhost:2380"


def test_scalars_do_for_text_and_text_does_for_lists(ask) -> None:
    config = ask(
        file="name: 5\ninitial-cluster-token: 1.5\nauto-compaction-mode: revision\nlog-outputs: stderr"
    ).config

    assert (config.name, config.initial_cluster_token, config.log_outputs) == ("5", "1.5", ("stderr",))
    assert config.directory == "5.etcd"


def test_an_empty_file_means_defaults(ask) -> None:
    assert ask(file="# nothing\n").config.name == "default"


def test_client_urls_need_not_be_advertised_in_a_file(ask) -> None:
    config = ask(file="listen-client-urls: http://127.0.0.1:1").config

    assert [str(url) for url in config.advertise_client_urls] == ["http://localhost:2379"]


def test_unknown_keys_are_warned_of(ask) -> None:
    parsed = ask(file="no-such-key: a\nraft-read-timeout: 9s\nsocket-options: {x: 1}\nname:")

    unknown = [notice.fields["key"] for notice in parsed.notices if notice.msg.startswith("unknown key")]
    assert unknown == ["no-such-key", "raft-read-timeout", "socket-options.x"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [1", "error converting YAML to JSON: yaml: "),
        ("- name", "cannot unmarshal array into Go value"),
        ("heartbeat-interval: abc", "cannot unmarshal string into Go struct field"),
        ("heartbeat-interval: -1", "unexpected error setting up heartbeat-interval: parse error"),
        ("heartbeat-interval: true", "cannot unmarshal bool into Go struct field"),
        ("pre-vote: 'yes'", "configYAML.pre-vote of type bool"),
        ("name: {a: b}", "cannot unmarshal object into Go struct field configYAML.name of type string"),
        ("log-outputs: [1]", "cannot unmarshal array into Go struct field configYAML.log-outputs"),
        ("grpc-keepalive-interval: 1.5", "cannot unmarshal number"),
        ("listen-client-urls: foo", "unexpected error setting up listen-client-urls: URL scheme must be"),
        ("name: 2026-99-99", "yaml: cannot decode a value: month must be"),
        ("name: !!int word", "yaml: cannot decode a value"),
        ("name: !!bool word", "yaml: cannot decode a value"),
        ("name: !!timestamp word", "yaml: cannot decode a value"),
        ("[" * 2000, "yaml: cannot decode a value"),
        ("name: 2026-01-01", "cannot unmarshal string into Go struct field configYAML.name"),
        ("max-txn-ops: 1.5", "cannot unmarshal number into Go struct field configYAML.max-txn-ops"),
        ("socket-options: 1", "invalid socket-options"),
        ("peer-transport-security: {cert-file: x}", "--peer-cert-file is not supported yet"),
        ("client-transport-security: {auto-tls: true}", "--auto-tls is not supported yet"),
        ("client-transport-security: {allowed-cn: [x]}", "client-transport-security.allowed-cn"),
        ("discovery-config: {token: x}", "--discovery-token is not supported yet"),
        ("compaction-batch-limit: 1\nexperimental-compaction-batch-limit: 2", "Use only --compaction-batch"),
    ],
)
def test_bad_files_are_refused_with_exit_code_1_in_one_line(text, message, refuse) -> None:
    error = refuse(file=text)

    assert error.exit_code == 1
    assert message in error.message
    assert "\n" not in error.message


def test_sections_that_say_nothing_are_fine(ask) -> None:
    client = 'client-transport-security: {cert-file: "", auto-tls: false}'
    peer = "peer-transport-security: {allowed-cn: []}"

    assert ask(file=f"{client}\n{peer}").config.cert_file == ""


def test_a_file_that_cannot_be_read_is_refused() -> None:
    def missing(path: str) -> str:
        raise FileNotFoundError(2, "No such file or directory", path)

    def binary(path: str) -> str:
        return b"\xff".decode()

    with pytest.raises(UsageError) as caught:
        parse(["--config-file=/nonexist"], {}, missing)
    assert caught.value.message == "open /nonexist: no such file or directory"

    with pytest.raises(UsageError) as caught:
        parse(["--config-file=x"], {}, binary)
    assert "not UTF-8" in caught.value.message
