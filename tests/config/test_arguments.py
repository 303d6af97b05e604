"""The command line follows the rules, and uses the words, of Go's flag package."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rusd.config import ExitRequest, UsageError, parse


@pytest.mark.parametrize(
    "argv", [["-name=a"], ["--name=a"], ["-name", "a"], ["--name", "a"], ["--name=b", "--name", "a"]]
)
def test_a_value_follows_its_flag_or_an_equals_sign_and_the_last_one_counts(argv, ask) -> None:
    assert ask(*argv).config.name == "a"


def test_a_value_may_look_like_a_flag_or_hold_an_equals_sign(ask) -> None:
    assert ask("--name", "--data-dir").config.name == "--data-dir"
    assert ask("--initial-cluster-token=a=b").config.initial_cluster_token == "a=b"


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("--pre-vote", True),
        ("--pre-vote=true", True),
        ("--pre-vote=T", True),
        ("--pre-vote=1", True),
        ("--pre-vote=false", False),
        ("--pre-vote=F", False),
        ("--pre-vote=0", False),
    ],
)
def test_a_boolean_stands_alone_or_has_its_value_after_an_equals_sign(word, value, ask) -> None:
    assert ask(word).config.pre_vote is value


@pytest.mark.parametrize(
    ("argv", "left"),
    [
        (["--pre-vote", "false"], "false"),
        (["--name=a", "b", "--name=c"], "b"),
        (["-"], "-"),
        (["--", "--name"], "--name"),
        ([""], ""),
    ],
)
def test_a_word_left_over_is_refused(argv, left, refuse) -> None:
    error = refuse(*argv)

    assert (error.exit_code, error.message) == (1, f'"{left}" is not a valid flag')
    (notice,) = error.notices
    assert (notice.level, notice.msg) == ("warn", "failed to verify flags")
    assert notice.fields == {"error": error.message}


def test_two_dashes_end_the_flags(ask) -> None:
    assert ask("--name=a", "--").config.name == "a"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--foo"], "flag provided but not defined: -foo"),
        (["-foo=1"], "flag provided but not defined: -foo"),
        (["--enable-v2"], "flag provided but not defined: -enable-v2"),
        (["--proxy=on"], "flag provided but not defined: -proxy"),
        (["---name"], "bad flag syntax: ---name"),
        (["-=x"], "bad flag syntax: -=x"),
        (["--=x"], "bad flag syntax: --=x"),
        (["--name"], "flag needs an argument: -name"),
        (["--pre-vote=yes"], 'invalid boolean value "yes" for -pre-vote: parse error'),
        (
            ["--cors=*,"],
            'invalid value "*," for flag -cors: URL scheme must be http, https, unix, or unixs: ',
        ),
        (["--heartbeat-interval=x"], 'invalid value "x" for flag -heartbeat-interval: parse error'),
        (["--heartbeat-interval=-1"], 'invalid value "-1" for flag -heartbeat-interval: parse error'),
        (["--heartbeat-interval="], 'invalid value "" for flag -heartbeat-interval: parse error'),
        (
            ["--heartbeat-interval=18446744073709551616"],
            'invalid value "18446744073709551616" for flag -heartbeat-interval: value out of range',
        ),
        (["--grpc-keepalive-min-time=5"], 'invalid value "5" for flag -grpc-keepalive-min-time: parse error'),
        (
            ["--max-concurrent-streams=x"],
            'invalid value "x" for flag -max-concurrent-streams: '
            'strconv.ParseUint: parsing "x": invalid syntax',
        ),
        (
            ["--max-concurrent-streams=4294967296"],
            'invalid value "4294967296" for flag -max-concurrent-streams: '
            'strconv.ParseUint: parsing "4294967296": value out of range',
        ),
        (
            ["--initial-cluster-state=old"],
            'invalid value "old" for flag -initial-cluster-state: invalid value',
        ),
        (
            ["--listen-client-urls=foo"],
            'invalid value "foo" for flag -listen-client-urls: '
            "URL scheme must be http, https, unix, or unixs: foo",
        ),
        (
            ["--feature-gates=Foo=true"],
            'invalid value "Foo=true" for flag -feature-gates: unrecognized feature gate: Foo',
        ),
        (
            ["--feature-gates=AllBeta"],
            'invalid value "AllBeta" for flag -feature-gates: missing bool value for AllBeta',
        ),
        (
            ["--feature-gates=AllBeta=yes"],
            'invalid value "AllBeta=yes" for flag -feature-gates: invalid value of AllBeta=yes, '
            'err: strconv.ParseBool: parsing "yes": invalid syntax',
        ),
    ],
)
def test_a_malformed_command_line_gets_gos_words_and_the_usage_and_exit_code_2(argv, message, refuse) -> None:
    error = refuse(*argv)

    assert (error.exit_code, error.message) == (2, message)
    assert error.stderr.startswith(message + "\nUsage:\n")
    assert error.notices == ()


@pytest.mark.parametrize(
    ("text", "number"),
    [("250", 250), ("0xfa", 250), ("0o372", 250), ("0372", 250), ("0b11111010", 250), ("2_50", 250)],
)
def test_numbers_are_written_as_in_go(text, number, ask) -> None:
    assert ask(f"--max-txn-ops={text}").config.max_txn_ops == number


@pytest.mark.parametrize("text", ["2__50", "_250", "250_", "08", "0x", "+5", "٣", "1.5", " 5", "1e3"])
def test_other_numbers_are_not(text, refuse) -> None:
    assert refuse(f"--max-txn-ops={text}").exit_code == 2


def test_signed_numbers_may_have_a_sign(ask) -> None:
    assert ask("--max-learners=-5").config.max_learners == -5
    assert ask("--max-learners=+5").config.max_learners == 5


@pytest.mark.parametrize("word", ["--v", "-vv=3", "--snapshot", "--force=what"])
def test_flags_of_the_past_are_ignored_with_a_warning(word, ask) -> None:
    parsed = ask(word)

    assert "is no longer supported - ignoring." in parsed.warnings[0]
    assert parsed.config == ask().config


@pytest.mark.parametrize("word", ["gateway", "grpc-proxy"])
def test_sub_commands_are_refused_by_name(word, refuse) -> None:
    assert refuse(word, "start").message == f'sub command "{word}" is not supported'


WORDS = st.one_of(
    st.sampled_from(["--name", "-pre-vote", "--pre-vote=x", "--listen-client-urls", "--config-file=", "--"]),
    st.text(alphabet="-=abnme:/.0,[]%", max_size=12),
)


@given(st.lists(WORDS, max_size=4))
def test_any_words_give_a_configuration_or_a_clear_error(argv) -> None:
    outcome = outcome_of(argv)

    assert not isinstance(outcome, UsageError) or outcome.exit_code in (1, 2)
    assert str(outcome)
    assert isinstance(outcome, ExitRequest) or "\n" not in str(outcome)


def outcome_of(argv) -> object:
    try:
        return parse(argv, {}, lambda path: f"name: {path!r}")
    except (UsageError, ExitRequest) as ending:
        return ending
