"""Workloads on keys: registers, compare-and-set, append lists, counters, transfers between accounts.

Every value written is unique (or tells by a condition who may write it), so that a change can be traced to
the one request that made it, answered or not.
"""

from __future__ import annotations

import random

from chaos.model import Answer, Compare, Delete, KeyValue, Put, Range, Txn, prefix_end
from chaos.session import Session
from chaos.workloads.base import Workload

REGISTERS = ("register/a", "register/b", "register/c", "register/d")
SWAPS = ("swap/a", "swap/b")
LISTS = ("list/a", "list/b")
COUNTERS = ("count/a", "count/b")
ACCOUNTS = tuple(f"account/{name}" for name in "abcde")
ACCOUNT_PREFIX = "account/"
FIRST_BALANCE = 100
LIST_LENGTH = 200


async def play_registers(session: Session, chance: random.Random) -> None:
    """Writes, reads of both kinds and deletions of a few keys."""
    while True:
        await session.pace()
        key = chance.choice(REGISTERS)
        match chance.choices(("write", "read", "stale", "delete"), (45, 35, 10, 10))[0]:
            case "write":
                await session.do(Put(key, session.unique()))
            case "read":
                await session.do(Range(key))
            case "stale":
                await session.do(Range(key, serializable=True))
            case _:
                await session.do(Delete(key))


async def play_swaps(session: Session, chance: random.Random) -> None:
    """Reads a key, then sets it if it still has that value."""
    while True:
        await session.pace()
        key = chance.choice(SWAPS)
        found = first(await session.do(Range(key)))
        if found is None:
            await session.do(
                Txn((Compare(key, "create", "=", 0),), (Put(key, session.unique()),), (Range(key),))
            )
            continue
        await session.do(
            Txn((Compare(key, "value", "=", found.value),), (Put(key, session.unique()),), (Range(key),))
        )


async def play_lists(session: Session, chance: random.Random) -> None:
    """Appends to a list, on the condition that nobody did so since it was read; long lists begin anew."""
    while True:
        await session.pace()
        key = chance.choice(LISTS)
        answer = await session.do(Range(key))
        if answer is None:
            continue
        found = first(answer)
        items = [] if found is None else found.value.split(",")
        if len(items) >= LIST_LENGTH:
            await session.do(Txn((unchanged(key, found),), (Delete(key),), (Range(key),)))
            continue
        value = ",".join([*items, session.unique()])
        await session.do(Txn((unchanged(key, found),), (Put(key, value),), (Range(key),)), note="append")


async def play_counters(session: Session, chance: random.Random) -> None:
    """Adds one, on the condition that nobody did so since."""
    while True:
        await session.pace()
        key = chance.choice(COUNTERS)
        answer = await session.do(Range(key))
        if answer is None:
            continue
        found = first(answer)
        value = str(1 if found is None else int(found.value) + 1)
        await session.do(Txn((unchanged(key, found),), (Put(key, value),), (Range(key),)), note="add")


async def play_transfers(session: Session, chance: random.Random) -> None:
    """Moves money between two of some accounts, having read all; the sum never changes."""
    while True:
        await session.pace()
        answer = await session.do(Range(ACCOUNT_PREFIX, prefix_end(ACCOUNT_PREFIX)), note="sum")
        if answer is None:
            continue
        found = {kv.key: kv for kv in _range(answer)}
        if len(found) < len(ACCOUNTS):
            await session.do(
                Txn(
                    tuple(Compare(key, "create", "=", 0) for key in ACCOUNTS),
                    tuple(Put(key, f"{FIRST_BALANCE}/{session.unique()}") for key in ACCOUNTS),
                )
            )
            continue
        giver, taker = chance.sample(ACCOUNTS, 2)
        amount = chance.randint(1, 20)
        await session.do(
            Txn(
                (unchanged(giver, found[giver]), unchanged(taker, found[taker])),
                (
                    Put(giver, f"{balance(found[giver]) - amount}/{session.unique()}"),
                    Put(taker, f"{balance(found[taker]) + amount}/{session.unique()}"),
                ),
            )
        )


def balance(kv: KeyValue) -> int:
    """The money on an account."""
    return int(kv.value.partition("/")[0])


def first(answer: Answer | None) -> KeyValue | None:
    """The only key that a Range of one key can find."""
    found = () if answer is None else _range(answer)
    return found[0] if found else None


def unchanged(key: str, found: KeyValue | None) -> Compare:
    """The condition that ``key`` is as it was found; None for not there."""
    if found is None:
        return Compare(key, "create", "=", 0)
    return Compare(key, "mod", "=", found.mod)


def _range(answer: Answer) -> tuple[KeyValue, ...]:
    (result,) = answer.results
    return result if isinstance(result, tuple) else ()


WORKLOADS = (
    Workload("register", "writes, reads and deletions of a few keys", 3, play_registers),
    Workload("cas", "compare-and-set of a value that was read before", 2, play_swaps),
    Workload("append", "lists that only grow", 2, play_lists),
    Workload("counter", "counters that nothing is lost from", 2, play_counters),
    Workload("txn", "transfers between accounts, several keys in one step", 2, play_transfers),
)
