"""What connections hold for their clients, and the bound on what all of them hold together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from rusd.grpc import LongAnswer, holdings
from rusd.grpc.budget import GRAIN_BYTES, STREAM_BYTES, Budget
from rusd.http2 import ErrorCode, Settings


class Holder:
    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.held = 0
        self.answer = 0
        self.gone = False

    def weigh(self) -> int:
        return self.held

    def largest(self) -> int:
        return self.answer

    def evict(self) -> None:
        self.gone = True
        self.held = 0

    def hold(self, held: int) -> None:
        self.held = held
        self.budget.report(self, held)
        self.budget.check()


def test_the_heaviest_goes_when_there_is_too_much() -> None:
    budget = Budget(1000)
    holders = [Holder(budget) for _ in range(4)]
    for holder, held in zip(holders, (100, 500, 300, 100), strict=True):
        holder.hold(held)
    assert budget.total == 1000
    holders[0].hold(110)
    assert [holder.gone for holder in holders] == [False, True, False, False]
    assert budget.total == 510
    assert budget.evicted == 1


def test_all_are_weighed_again_before_anybody_goes() -> None:
    budget = Budget(1000)
    old, new = Holder(budget), Holder(budget)
    old.hold(900)
    old.held = 10  # nobody reports that they need less
    new.hold(600)
    assert not old.gone
    assert not new.gone
    assert budget.total == 610


def test_as_many_go_as_must() -> None:
    budget = Budget(1000)
    holders = [Holder(budget) for _ in range(10)]
    for holder in holders[:-1]:
        holder.hold(100)
    holders[-1].held = 90
    for holder in holders[:-1]:
        holder.held = 300
    holders[-1].hold(200)
    assert budget.total <= 1000
    assert not holders[-1].gone
    assert sum(holder.gone for holder in holders) == 7


def test_one_alone_may_hold_an_answer_of_any_size() -> None:
    """A single one must get through."""
    budget = Budget(1000)
    only = Holder(budget)
    only.answer = 4500
    only.hold(5000)
    assert not only.gone


def test_one_alone_may_not_hold_too_much_besides() -> None:
    budget = Budget(1000)
    only = Holder(budget)
    only.answer = 3000
    only.hold(5000)
    assert only.gone
    assert budget.total == 0


def test_who_is_gone_weighs_nothing() -> None:
    budget = Budget(1000)
    one, two = Holder(budget), Holder(budget)
    one.hold(900)
    budget.forget(one)
    budget.forget(one)
    two.hold(900)
    assert budget.total == 900
    assert not one.gone


# -- what a connection weighs ---------------------------------------------------------------------------


def test_a_request_in_pieces_weighs_until_it_is_whole(pair: Any, message: Any) -> None:
    whole = message("x" * 500_000)
    stream_id = pair.request(whole[:400_000], end=False)
    assert pair.server.held.weigh() == 400_000 + STREAM_BYTES
    assert pair.growths >= 1
    pair.send(stream_id, whole[400_000:], end=True)
    assert pair.server.held.weigh() == 0


def test_a_request_in_pieces_that_comes_to_nothing_weighs_nothing(pair: Any, message: Any) -> None:
    for ending in ("reset", "garbage", "deadline"):
        extra = {"grpc_timeout": b"1S"} if ending == "deadline" else {"grpc_encoding": b"gzip"}
        stream_id = pair.request(message(b"x" * 10_000, 1)[:9_000], end=False, **extra)
        assert pair.server.held.weigh() == 9_000 + STREAM_BYTES
        if ending == "reset":
            pair.client.reset_stream(stream_id, ErrorCode.CANCEL)
            pair.exchange()
        elif ending == "garbage":
            pair.send(stream_id, b"x" * 1_005, end=True)
        else:
            pair.pass_time(2.0)
        lingering = STREAM_BYTES if ending == "deadline" else 0  # the client might still end its request
        assert pair.server.held.weigh() == lingering, ending


def test_answers_that_wait_weigh_until_they_are_read(make_pair: Callable[..., Any], message: Any) -> None:
    pair = make_pair(client_settings=Settings(initial_window_size=0))
    stream_id = pair.request(message("x" * 300_000))
    assert STREAM_BYTES + 300_000 < pair.server.held.weigh() < STREAM_BYTES + 300_100
    assert pair.growths == 1
    pair.client.reset_stream(stream_id, ErrorCode.CANCEL)
    pair.exchange()
    assert pair.server.held.weigh() == 0


def test_messages_a_stream_handler_leaves_lying_weigh(pair: Any, message: Any) -> None:
    stream_id = pair.request(path=b"/test.Test/Stream", end=False)
    call = pair.started[0]
    for _ in range(3):
        pair.send(stream_id, message("x" * 1000))
    assert pair.server.held.weigh() == STREAM_BYTES + 3 * len(message("x" * 1000))
    call.take()
    assert pair.server.held.weigh() == STREAM_BYTES + 2 * len(message("x" * 1000))
    pair.server.finish(call)
    assert pair.server.held.weigh() == STREAM_BYTES  # the client has not ended it
    pair.send(stream_id, b"", end=True)
    assert pair.server.held.weigh() == 0


def test_messages_to_a_stream_that_is_not_read_weigh(make_pair: Callable[..., Any]) -> None:
    pair = make_pair(client_settings=Settings(initial_window_size=0))
    pair.request(path=b"/test.Test/Stream", end=False)
    pair.started[0].send(bytes(GRAIN_BYTES))
    assert pair.growths == 1
    assert pair.server.held.weigh() > GRAIN_BYTES


def test_open_calls_weigh_whether_or_not_they_say_anything(pair: Any) -> None:
    for _ in range(200):
        pair.request(end=False)
    assert pair.server.held.weigh() == 200 * STREAM_BYTES
    assert pair.growths == 200 * STREAM_BYTES // (GRAIN_BYTES + STREAM_BYTES)


def test_parts_of_a_long_answer_that_is_not_read_weigh(make_pair: Callable[..., Any], registry: Any) -> None:
    async def never(_: object) -> None:
        raise AssertionError("this host starts nothing")

    registry.inline("/test.Test/Long", StringValue, lambda *_: LongAnswer(never))
    pair = make_pair(client_settings=Settings(initial_window_size=0))
    pair.request(b"\0\0\0\0\0", path=b"/test.Test/Long")
    call, _ = pair.long[0]
    pair.server.parts.begin(call, 2 * GRAIN_BYTES, lambda: None)
    assert not pair.server.parts.send(call, bytes(GRAIN_BYTES))
    assert pair.growths == 1
    assert pair.server.held.weigh() > GRAIN_BYTES


# -- a connection that has to go while it is being served --------------------------------------------


def test_a_request_whose_end_is_too_much_is_not_carried_out(
    pair: Any, message: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holdings, "GRAIN_BYTES", 10_000)
    whole = message("x" * 3000)
    stream_id = pair.request(whole[:1000], end=False)
    pair.last_growth = pair.growths + 1
    pair.send(stream_id, whole[1000:], end=True)
    assert pair.server.http2.closed
    assert pair.server.held.weigh() == 0
    assert not pair.streams[stream_id].ended


def test_a_message_of_a_stream_that_is_too_much_weighs_nothing_afterwards(
    pair: Any, message: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holdings, "GRAIN_BYTES", 10_000)
    stream_id = pair.request(path=b"/test.Test/Stream", end=False)
    pair.last_growth = pair.growths + 1
    pair.send(stream_id, message("x" * 3000))
    assert pair.server.http2.closed
    assert pair.server.held.weigh() == 0


def test_an_answer_that_is_too_much_leaves_no_stream_to_listen_to(make_pair: Callable[..., Any]) -> None:
    pair = make_pair(client_settings=Settings(initial_window_size=0))
    pair.request(b"\0\0\0\0\0", path=b"/test.Test/Task", end=False)
    call = pair.started[0]
    pair.last_growth = 1
    pair.server.answer(call, bytes(GRAIN_BYTES))
    assert pair.server.http2.closed
    assert call.stream_id not in pair.server._lingering
