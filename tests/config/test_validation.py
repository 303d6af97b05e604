"""What makes sense together, what this release does not do, and what has no meaning here."""

from __future__ import annotations

import pytest

from rusd.config import FLAGS, Config, Notice, Parsed, UsageError, validate
from rusd.config.flags import Standing
from rusd.config.vocabulary import TWINS
from rusd.logs import make_logger

ADVERTISE = "--advertise-client-urls=http://127.0.0.1:2379"

OTHER_VALUES = {
    "bool": lambda shown: "false" if shown == "true" else "true",
    "string": lambda shown: "http://127.0.0.1:9" if shown.startswith("http") or not shown else "other",
    "[]string": lambda shown: "x",
    "time.Duration": lambda shown: "7s",
}


def other_value(name: str) -> str:
    words = {"initial-cluster-state": "existing", "v2-deprecation": "gone"}
    kind = FLAGS[name].kind
    change = OTHER_VALUES.get(kind.go_type, lambda shown: "17")
    return words.get(name) or change(kind.show(FLAGS[name].default))


def of_standing(standing: Standing) -> list[str]:
    return [name for name, flag in FLAGS.items() if flag.standing is standing]


def messages(parsed: Parsed) -> list[str]:
    return [notice.msg for notice in parsed.notices]


@pytest.mark.parametrize("name", of_standing(Standing.NOT_YET))
def test_what_is_not_there_yet_is_refused_by_name_unless_it_is_the_default(name, ask, refuse) -> None:
    error = refuse(f"--{name}={other_value(name)}")
    assert error.exit_code == 1
    assert error.message == f"--{name} is not supported yet: {FLAGS[name].why}"

    flag = FLAGS[name]
    ask(f"--{name}={flag.kind.show(flag.default)}")


@pytest.mark.parametrize("name", of_standing(Standing.NO_MEANING))
def test_what_has_no_meaning_is_accepted_with_a_warning(name, ask) -> None:
    parsed = ask(f"--{name}={other_value(name)}")

    assert f"--{name} has no effect: {FLAGS[name].why}" in parsed.warnings


@pytest.mark.parametrize("twin", TWINS)
def test_a_former_name_works_with_a_warning_but_not_beside_the_present_one(twin, ask, refuse) -> None:
    name = TWINS[twin]
    if FLAGS[name].standing is Standing.NOT_YET:
        assert f"--{name} is not supported yet" in refuse(f"--{twin}={other_value(name)}").message
    else:
        parsed = ask(f"--{twin}={other_value(name)}")
        assert parsed.config.explicit == {name}
        assert f"--{twin} is deprecated" in parsed.warnings[0]

    error = refuse(f"--{twin}={other_value(name)}", f"--{name}={other_value(name)}")
    assert error.message == f"both --{twin} and --{name} flags are set. Use only --{name}"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["--listen-client-urls=http://foo:80", "--advertise-client-urls=http://foo:80"],
            "expected IP in URL for binding (http://foo:80)",
        ),
        (["--listen-peer-urls=http://foo:80"], "expected IP in URL for binding (http://foo:80)"),
        (
            ["--listen-client-urls=http://127.0.0.1:2379"],
            "--advertise-client-urls is required when --listen-client-urls is set explicitly",
        ),
        (["--listen-client-urls=", ADVERTISE], "--listen-client-urls must name at least one address"),
        (
            ["--advertise-client-urls=http://:80"],
            '--advertise-client-urls "http://:80" must be in the format "host:port", '
            '"unix:/path/to/socket" or "unixs:/path/to/socket" (unexpected empty host (http://:80))',
        ),
        (
            ["--initial-advertise-peer-urls=http://:80"],
            '--initial-advertise-peer-urls "http://:80" must be "host:port" '
            "(unexpected empty host (http://:80))",
        ),
        (
            ["--listen-client-urls=https://127.0.0.1:2379", ADVERTISE],
            "listening on https://127.0.0.1:2379 is not supported yet: TLS is not there yet",
        ),
        (
            ["--listen-client-urls=unix:///run/x.sock", ADVERTISE],
            "listening on unix:///run/x.sock is not supported yet: use a TCP address",
        ),
        (["--heartbeat-interval=0"], "--heartbeat-interval must be >0 (set to 0ms)"),
        (["--election-timeout=0"], "--election-timeout must be >0 (set to 0ms)"),
        (
            ["--election-timeout=499"],
            "--election-timeout[499ms] should be at least as 5 times as --heartbeat-interval[100ms]",
        ),
        (
            ["--election-timeout=50001"],
            "--election-timeout[50001ms] is too long, and should be set less than 50000ms",
        ),
        (["--auto-compaction-mode=x"], 'unknown auto-compaction-mode "x"'),
        (["--auto-compaction-mode="], "undefined auto-compaction-mode"),
        (
            ["--auto-compaction-retention=x"],
            'error parsing CompactionRetention: time: invalid duration "x"',
        ),
        (
            ["--auto-compaction-retention=-1"],
            'error parsing CompactionRetention: time: missing unit in duration "-1"',
        ),
        (["--auto-compaction-retention=-1h"], 'error parsing CompactionRetention: negative duration "-1h"'),
        (["--compact-hash-check-time=0s"], "--compact-hash-check-time must be >0 (set to 0s)"),
        (
            ["--feature-gates=LeaseCheckpointPersist=true"],
            "enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint",
        ),
        (["--feature-gates=SetMemberLocalAddr=true"], "feature gate SetMemberLocalAddr is not supported yet"),
        (["--feature-gates=AllAlpha=true"], "feature gate SetMemberLocalAddr is not supported yet"),
        (
            ["--feature-gates=CompactHashCheck=true", "--experimental-compact-hash-check-enabled=false"],
            "cannot specify both flags: --feature-gates=(CompactHashCheck=true) and "
            "--experimental-compact-hash-check-enabled=(false), "
            "please just use --feature-gates=(CompactHashCheck=true)",
        ),
        (["--tls-min-version=TLS1.1"], 'unexpected TLS version "TLS1.1" (must be one of: TLS1.2, TLS1.3)'),
        (
            ["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"],
            "min version (TLS1.3) is greater than max version (TLS1.2)",
        ),
        (
            ["--discovery-fallback=proxy"],
            'v2 proxy is deprecated, and --discovery-fallback can\'t be configured as "proxy"',
        ),
        (["--logger=capnslog"], "--logger=capnslog is removed in v3.5"),
        (["--logger=logrus"], 'unknown logger option "logrus"'),
        (
            ["--cipher-suites=X", "--tls-min-version=TLS1.3"],
            "--cipher-suites is not supported yet: TLS is not there yet",
        ),
        (["--log-format=xml"], "unknown log format: xml, supported values json, console"),
        (["--log-outputs=default,stderr"], 'multi logoutput for "default" is not supported yet'),
        (["--log-outputs=/x.log"], "--log-outputs=/x.log is not supported yet: use stderr or stdout"),
        (["--auth-token=jwt,pub-key=x"], "--auth-token=jwt is not supported yet: use simple"),
        (["--auth-token=what"], "auth: invalid auth options"),
        (
            ["--initial-cluster=default=http://1.1.1.1:1,b=https://1.1.1.2:1"],
            "peer URL https://1.1.1.2:1 is not supported yet: use http and a TCP address",
        ),
        (
            ["--initial-cluster=default=http://1.1.1.1:0,b=http://1.1.1.2:1"],
            "port 0 in a peer URL is for a cluster of one member: the others could not find it",
        ),
        (
            ["--listen-peer-urls=http://127.0.0.1:0", "--initial-cluster-state=existing"],
            "port 0 in a peer URL is for a cluster of one member: the others could not find it",
        ),
        (
            ["--data-dir=:memory:", "--initial-cluster=default=http://1.1.1.1:1,b=http://1.1.1.2:1"],
            "--data-dir=:memory: is for a cluster of one member: others rely on what is kept",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line_with_exit_code_1(argv, message, refuse) -> None:
    error = refuse(*argv)

    assert (error.exit_code, error.message, error.stderr) == (1, message, "")
    assert error.notices[-1].fields == {"error": message}


def test_an_unknown_log_level_is_gos_panic(refuse) -> None:
    error = refuse("--log-level=loud")

    assert (error.exit_code, error.stderr) == (2, 'panic: unrecognized level: "loud"\n')


def test_listening_on_port_0_needs_no_advertised_url(ask) -> None:
    config = ask("--listen-client-urls=http://127.0.0.1:0").config

    assert config.advertise_client_urls == config.listen_client_urls


@pytest.mark.parametrize(
    ("mode", "text", "seconds", "revisions"),
    [
        ("periodic", "0", 0, 0),
        ("periodic", "2", 7200, 0),
        ("periodic", "90s", 90, 0),
        ("revision", "1000", 0, 1000),
        ("revision", "1us", 0, 1000),
    ],
)
def test_retention_is_hours_or_a_duration_or_a_number_of_revisions(
    mode, text, seconds, revisions, ask
) -> None:
    config = ask(f"--auto-compaction-mode={mode}", f"--auto-compaction-retention={text}").config

    assert config.compaction_retention == (seconds, revisions)


def test_zero_stands_for_the_default_where_etcd_has_it_so(ask) -> None:
    names = [name for name, flag in FLAGS.items() if flag.zero_is_default]
    zeros = [f"--{name}=0{'s' if FLAGS[name].kind.go_type == 'time.Duration' else ''}" for name in names]

    config = ask(*zeros).config

    assert len(names) == 7
    for name in names:
        assert getattr(config, FLAGS[name].attribute) == FLAGS[name].default != 0


def test_a_configuration_made_in_a_program_is_held_to_the_same_rules() -> None:
    with pytest.raises(UsageError, match="--cert-file is not supported yet"):
        validate(Config(cert_file="x"), [])

    assert validate(Config(quota_backend_bytes=0), []).quota_bytes == 2 << 30


def test_a_negative_quota_is_no_limit(ask, default) -> None:
    assert ask("--quota-backend-bytes=-1").config.quota_bytes is None
    assert default.quota_bytes == 2 << 30


@pytest.mark.parametrize(
    ("word", "attribute", "value", "said"),
    [
        ("--bcrypt-cost=3", "bcrypt_cost", 10, "use default bcrypt cost"),
        ("--bcrypt-cost=32", "bcrypt_cost", 10, "use default bcrypt cost"),
        ("--bcrypt-cost=31", "bcrypt_cost", 31, ""),
        ("--watch-progress-notify-interval=99ms", "watch_progress_notify_interval", 0.1, "adjusting watch"),
        ("--raft-read-timeout=1s", "raft_read_timeout", 5.0, "raft-read-timeout increased to minimum"),
        ("--raft-write-timeout=6s", "raft_write_timeout", 6.0, ""),
    ],
)
def test_harmless_values_out_of_bounds_are_put_right(word, attribute, value, said, ask) -> None:
    parsed = ask("--name=a", "--data-dir=d", word)

    assert getattr(parsed.config, attribute) == value
    assert any(msg.startswith(said) for msg in messages(parsed)) if said else messages(parsed) == []
    assert validate(parsed.config, []) == parsed.config


def test_the_default_is_valid_and_warns_of_its_name_and_directory(ask) -> None:
    parsed = ask()

    assert len(parsed.warnings) == 2
    assert "default name" in parsed.warnings[1]
    assert parsed.config.data_dir == "default.etcd"
    assert validate(Config(), []) == Config()


def test_a_configuration_that_leaves_nothing_open_says_nothing(ask) -> None:
    assert ask("--name=a", "--data-dir=:memory:").notices == ()
    assert ask("--name=a", "--data-dir=:memory:").config.in_memory


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("--snapshot-count=5", "--snapshot-count is deprecated in 3.6"),
        ("--max-request-bytes=10485761", "exceeded recommended request limit"),
        ("--quota-backend-bytes=8589934593", "quota exceeds the maximum value"),
        ("--unsafe-no-fsync", "fsync is off"),
        ("--experimental-initial-corrupt-check", "--experimental-initial-corrupt-check is deprecated"),
    ],
)
def test_doubtful_values_are_warned_of(word, said, ask) -> None:
    assert any(said in warning for warning in ask(word).warnings)


@pytest.mark.parametrize(
    ("text", "enabled"),
    [
        ("", {"TxnModeWriteWithSharedBuffer"}),
        ("AllBeta=false", set()),
        ("CompactHashCheck=true, TxnModeWriteWithSharedBuffer=f", {"CompactHashCheck"}),
        (
            "AllAlpha=true,LeaseCheckpoint=false,LeaseCheckpointPersist=false,SetMemberLocalAddr=false",
            {
                "CompactHashCheck",
                "InitialCorruptCheck",
                "StopGRPCServiceOnDefrag",
                "TxnModeWriteWithSharedBuffer",
            },
        ),
    ],
)
def test_gates_are_switched_by_name_or_by_stage(text, enabled, ask) -> None:
    assert ask(f"--feature-gates={text}").config.enabled_features == enabled


def test_former_flags_switch_gates(ask) -> None:
    config = ask("--experimental-stop-grpc-service-on-defrag").config

    assert "StopGRPCServiceOnDefrag" in config.enabled_features


def test_a_notice_can_be_logged() -> None:
    class Lines(list[str]):
        write = list.append

    class Clock:
        monotonic = time = staticmethod(lambda: 0.0)

    lines = Lines()
    Notice("warn", "said", {"data_dir": "x"}).write(make_logger(lines, Clock()))  # type: ignore[arg-type]

    assert '"level":"warn"' in lines[0]
    assert lines[0].endswith('"msg":"said","data-dir":"x"}')
