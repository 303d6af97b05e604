"""What the network does is what the rules say, and ends with them."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chaos.links import Link, Network, Rule


async def passed(link: Link, size: int = 1) -> float:
    """How long a piece takes."""
    begun = trio.current_time()
    await link.passage(size)
    return trio.current_time() - begun


async def test_a_link_without_rules_lets_all_pass(autojump_clock: MockClock) -> None:
    assert await passed(Link(), 1_000_000) == 0


async def test_delay_and_rate_add_up(autojump_clock: MockClock) -> None:
    link = Link()
    link.add(Rule(delay=0.25))
    link.add(Rule(delay=0.5))
    assert await passed(link) == 0.75
    link.add(Rule(rate=100))
    assert await passed(link, 50) == 1.25


async def test_nothing_passes_until_the_last_hold_is_gone(autojump_clock: MockClock) -> None:
    link = Link()
    one, other = Rule(hold=True), Rule(hold=True)
    link.add(one)
    link.add(other)
    through: list[float] = []

    async def carry() -> None:
        through.append(await passed(link))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(carry)
        await trio.sleep(1)
        link.remove(one)
        await wait_all_tasks_blocked()
        assert through == []
        await trio.sleep(1)
        link.remove(other)
    assert through == [2]


async def test_a_delay_that_is_taken_away_delays_no_longer(autojump_clock: MockClock) -> None:
    link, rule = Link(), Rule(delay=60)
    link.add(rule)
    through: list[float] = []

    async def carry() -> None:
        through.append(await passed(link))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(carry)
        await trio.sleep(1)
        link.remove(rule)
    assert through == [1]


def test_rules_are_for_their_ways_only() -> None:
    network, rule = Network(), Rule(hold=True)
    network.add([(0, 1), (0, 2)], rule)
    assert network.link(0, 1).held
    assert network.link(0, 2).held
    assert not network.link(1, 0).held
    assert not network.link(None, 1).held
    network.remove([(0, 1), (2, 1)], rule)
    assert not network.link(0, 1).held
    assert network.link(0, 2).held
