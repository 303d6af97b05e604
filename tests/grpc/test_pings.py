"""How often a client may ping: grpc-go's rules, strike by strike."""

from __future__ import annotations

from typing import Any

import pytest

from rusd.grpc.pings import DEFAULT_MIN_TIME, WITHOUT_STREAMS_SECONDS, PingPolicy
from rusd.http2 import ErrorCode

TOO_MANY = (ErrorCode.ENHANCE_YOUR_CALM, b"too_many_pings")


def judge(policy: PingPolicy, *pings: tuple[float, int, int]) -> list[bool]:
    """The verdicts on pings of (time, open streams, sent so far)."""
    return [policy.is_one_too_many(*ping) for ping in pings]


def test_the_fourth_ping_in_a_row_is_one_too_many() -> None:
    assert judge(PingPolicy(5.0), *[(n, 1, 0) for n in range(5)]) == [False, False, False, True, True]


def test_pings_that_keep_their_distance_are_fine() -> None:
    assert not any(judge(PingPolicy(5.0), *[(5.0 * n, 1, 0) for n in range(100)]))


def test_the_distance_is_to_the_last_ping_whatever_became_of_it() -> None:
    times = [0.0, 1.0, 2.0, 7.0, 8.0]
    assert judge(PingPolicy(5.0), *[(at, 1, 0) for at in times]) == [False] * 4 + [True]


def test_whatever_is_sent_wipes_the_strikes_out_and_pays_for_one_ping() -> None:
    policy = PingPolicy(5.0)
    assert not any(judge(policy, (0, 1, 0), (0, 1, 0), (0, 1, 0)))
    assert judge(policy, (0, 1, 64), (0, 1, 64), (0, 1, 64), (0, 1, 64)) == [False, False, False, True]


def test_without_streams_a_client_may_ping_every_two_hours() -> None:
    policy = PingPolicy(5.0)
    patient = [(WITHOUT_STREAMS_SECONDS * n, 0, 0) for n in range(5)]
    assert not any(judge(policy, *patient))
    later = patient[-1][0]
    assert judge(policy, *[(later + 60.0 * n, 0, 0) for n in (1, 2, 3)]) == [False, False, True]


def test_no_minimum_means_grpcs_own() -> None:
    near = [(n * (DEFAULT_MIN_TIME - 1), 1, 0) for n in range(4)]
    assert judge(PingPolicy(0.0), *near)[-1]
    assert not any(judge(PingPolicy(0.0), *[(n * DEFAULT_MIN_TIME, 1, 0) for n in range(4)]))


# -- in a connection ----------------------------------------------------------------------------------


def ping(pair: Any, count: int, apart: float = 0.0) -> None:
    for _ in range(count):
        if pair.goaways:
            return
        pair.client.ping(b"12345678")
        pair.exchange()
        pair.pass_time(apart)


def end_of(pair: Any) -> tuple[int, bytes] | None:
    return (pair.goaways[-1][1], pair.goodbyes[-1]) if pair.goaways else None


def test_an_idle_client_that_pings_is_told_so(pair: Any) -> None:
    ping(pair, 3, apart=60.0)
    assert end_of(pair) is None
    ping(pair, 1)
    assert end_of(pair) == TOO_MANY
    assert pair.server.http2.closed


def test_an_open_call_allows_a_ping_in_five_seconds(pair: Any) -> None:
    pair.request(path=b"/test.Test/Stream", end=False)
    ping(pair, 20, apart=5.0)
    assert end_of(pair) is None
    ping(pair, 4, apart=4.9)
    assert end_of(pair) == TOO_MANY


@pytest.mark.parametrize("answers", ["data", "status"])
def test_a_client_that_is_answered_may_ping_as_it_likes(pair: Any, message: Any, answers: str) -> None:
    """A gRPC client measures the way with a ping for each burst of data."""
    for _ in range(50):
        pair.request(message("hi"), path=b"/test.Test/Echo" if answers == "data" else b"/no.Such/Method")
        ping(pair, 2)
    assert end_of(pair) is None


def test_the_ping_that_is_one_too_many_is_still_answered(pair: Any) -> None:
    answered = []
    pair.on_ping_ack = answered.append
    ping(pair, 4)
    assert len(answered) == 4
    assert end_of(pair) == TOO_MANY
