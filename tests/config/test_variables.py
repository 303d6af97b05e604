"""ETCD_* variables stand in for flags."""

from __future__ import annotations

import pytest


def test_a_variable_sets_its_flag(ask) -> None:
    parsed = ask(environ={"ETCD_NAME": "a", "ETCD_MAX_TXN_OPS": "7", "ETCD_PRE_VOTE": "false", "PATH": "/"})

    assert (parsed.config.name, parsed.config.max_txn_ops, parsed.config.pre_vote) == ("a", 7, False)
    assert parsed.config.explicit == {"name", "max-txn-ops", "pre-vote"}
    used = [notice.fields for notice in parsed.notices if notice.msg.startswith("recognized and used")]
    assert {"variable_name": "ETCD_NAME", "variable_value": "a"} in used


def test_an_empty_variable_is_unset(ask) -> None:
    parsed = ask("--name=a", environ={"ETCD_NAME": "", "ETCD_PRE_VOTE": ""})

    assert parsed.config.name == "a"
    assert parsed.config.pre_vote


def test_flag_and_variable_together_are_refused(refuse) -> None:
    error = refuse("--name=a", environ={"ETCD_NAME": "a"})

    assert error.exit_code == 1
    assert error.message.startswith("conflicting environment variable is shadowed by")
    assert error.message.endswith("ETCD_NAME")
    (notice,) = error.notices
    assert (notice.level, notice.fields) == ("fatal", {"environment_variable": "ETCD_NAME"})


def test_a_malformed_variable_is_refused_with_exit_code_1(refuse) -> None:
    error = refuse(environ={"ETCD_HEARTBEAT_INTERVAL": "x"})

    assert (error.exit_code, error.message) == (
        1,
        'invalid value "x" for ETCD_HEARTBEAT_INTERVAL: parse error',
    )


def test_unknown_variables_are_warned_of(ask) -> None:
    parsed = ask(environ={"ETCD_FOO": "1", "ETCDCTL_API": "3"})

    assert [n.fields for n in parsed.notices if n.msg == "unrecognized environment variable"] == [
        {"environment_variable": "ETCD_FOO=1"}
    ]


def test_the_version_variable_does_not_ask_for_the_version(ask) -> None:
    assert "cannot set special environment variable" in ask(environ={"ETCD_VERSION": "v3.6.14"}).warnings


@pytest.mark.parametrize(
    "variable", ["ETCD_EXPERIMENTAL_COMPACTION_BATCH_LIMIT", "ETCD_COMPACTION_BATCH_LIMIT"]
)
def test_former_names_have_variables_too(variable, ask) -> None:
    assert ask(environ={variable: "5"}).config.compaction_batch_limit == 5
