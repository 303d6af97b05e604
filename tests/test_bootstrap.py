"""What a member is before it has data: ids, first entries, and who is asked about what."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import attrs
import pytest

from rusd.addresses import Addresses
from rusd.bootstrap import Beginning, begin, found
from rusd.config import Config, UsageError, parse_urls
from rusd.forcing import sole_member_entries
from rusd.logs import make_logger
from rusd.peers import PeerError
from rusd.raft import Configuration, HardState, decode_configuration
from rusd.state import Member, StateMachine
from rusd.storage.record import SnapshotMarker
from rusd.storage.wal import Recovered
from rusd.testing import ListSink, ManualClock

CLUSTER = "a=http://10.0.0.1:2380,b=http://10.0.0.2:2380,c=http://10.0.0.3:2380"


def config(name: str, **settings: Any) -> Config:
    number = "abcd".index(name) + 1
    own = {"name": name, "initial_advertise_peer_urls": parse_urls(f"http://10.0.0.{number}:2380")}
    return Config(**{**own, "initial_cluster": CLUSTER, **settings})


@attrs.define
class Others:
    """What is at each address: members of a cluster, and its version."""

    members: dict[str, Sequence[Member]] = attrs.field(factory=dict)
    version: str = "3.6.0"
    downgrading: bool = False
    asked: list[str] = attrs.field(factory=list)

    async def fetch_members(self, url: str, timeout: float) -> tuple[int, Sequence[Member]]:
        self.asked.append(url)
        if url not in self.members:
            raise PeerError("nobody is there")
        return 0xC1, self.members[url]

    async def fetch_version(self, url: str, timeout: float) -> tuple[str, str]:
        if url not in self.members:
            raise PeerError("nobody is there")
        return "3.6.14", self.version

    async def fetch_downgrade_enabled(self, url: str, timeout: float) -> bool:
        if url not in self.members:
            raise PeerError("nobody is there")
        return self.downgrading


class Names:
    """What is known of hosts; an address is its own."""

    def __init__(self, **names: str) -> None:
        self._names = names

    async def address(self, host: str) -> str:
        return self._names.get(host, host)


async def start(configuration: Config, others: Others, names: Names = Names()) -> Beginning:  # noqa: B008
    clock = ManualClock()
    log = make_logger(ListSink(), clock)
    return await begin(configuration, others, Addresses(names, clock, log), log)


async def refusal(configuration: Config, others: Others) -> str:
    with pytest.raises(UsageError) as caught:
        await start(configuration, others)
    return caught.value.message


def test_all_founders_begin_with_the_same_entries_and_each_with_its_own_id() -> None:
    beginnings = [found(config(name)) for name in "abc"]
    assert len({beginning.identity.member_id for beginning in beginnings}) == 3
    assert len({beginning.identity.cluster_id for beginning in beginnings}) == 1
    assert all(beginning.entries == beginnings[0].entries for beginning in beginnings)
    assert beginnings[0].hard_state == HardState(term=1, vote=0, commit=3)
    other = found(config("a", initial_cluster_token="another"))
    assert other.identity.cluster_id != beginnings[0].identity.cluster_id


def test_the_ids_are_those_that_etcd_computes() -> None:
    # Those of a real etcd 3.5.1 with the same flags and the token "tok".
    members = ",".join(f"m{i}=http://127.0.0.1:{42001 + 10 * i}" for i in (1, 2, 3))
    own = parse_urls("http://127.0.0.1:42011")
    settings = {"initial_cluster": members, "initial_cluster_token": "tok"}
    beginning = found(Config(name="m1", initial_advertise_peer_urls=own, **settings))
    assert f"{beginning.identity.member_id:x}" == "4ec4b3a576278d3c"
    assert f"{beginning.identity.cluster_id:x}" == "d0d51da1704cce02"


async def test_a_founder_asks_the_others_whether_it_has_been_there_before() -> None:
    own = found(config("a")).identity.member_id
    fresh = Member(own, ("http://10.0.0.1:2380",))
    started = attrs.evolve(fresh, name="a", client_urls=("http://10.0.0.1:2379",))
    assert await start(config("a"), nobody := Others()) == found(config("a"))
    assert nobody.asked == ["http://10.0.0.2:2380", "http://10.0.0.3:2380"]
    await start(config("a"), Others({"http://10.0.0.3:2380": [fresh]}))
    told = await refusal(config("a"), Others({"http://10.0.0.3:2380": [started]}))
    assert told == f"member {own:x} has already been bootstrapped"


RUNNING = [
    Member(1, ("http://10.0.0.1:2380",), "a", ("http://10.0.0.1:2379",)),
    Member(2, ("http://10.0.0.2:2380",), "b"),
    Member(3, ("http://10.0.0.3:2380",)),
]


async def test_who_joins_finds_itself_by_its_urls_and_begins_with_nothing() -> None:
    joining = config("c", initial_cluster_state="existing")
    beginning = await start(joining, Others({"http://10.0.0.2:2380": RUNNING}))
    assert (beginning.identity.cluster_id, beginning.identity.member_id) == (0xC1, 3)
    assert (beginning.hard_state, beginning.entries) == (None, ())


@pytest.mark.parametrize(
    ("members", "version", "words"),
    [
        (None, "3.6.0", "cannot fetch cluster info from peer urls: could not retrieve cluster information"),
        ([], "3.6.0", "cannot fetch cluster info from peer urls: failed to get raft cluster member(s)"),
        (RUNNING[:2], "3.6.0", "member count is unequal"),
        (
            [*RUNNING[:2], Member(4, ("http://10.0.0.9:2380",))],
            "3.6.0",
            "PeerURLs: no match found for existing member (4, [http://10.0.0.9:2380])",
        ),
        ([*RUNNING[:2], attrs.evolve(RUNNING[2], peer_urls=("nonsense",))], "3.6.0", "no match found"),
        (RUNNING, "3.7.0", "incompatible with current running cluster"),
        (RUNNING, "not_decided", "incompatible with current running cluster"),
        (
            [attrs.evolve(member, is_learner=member.id > 1) for member in RUNNING],
            "3.6.0",
            "too many learner members in cluster",
        ),
    ],
)
async def test_who_can_t_join_is_told_why(members: list[Member] | None, version: str, words: str) -> None:
    others = Others({} if members is None else {"http://10.0.0.1:2380": members}, version)
    assert words in await refusal(config("c", initial_cluster_state="existing"), others)


async def test_only_the_next_newer_server_joins_a_cluster_that_is_on_its_way_down() -> None:
    joining = config("c", initial_cluster_state="existing")
    others = Others({"http://10.0.0.1:2380": RUNNING}, downgrading=True)
    assert await refusal(joining, others) == "incompatible with current running cluster"


async def test_who_joins_must_be_listed_and_nobody_twice() -> None:
    others = Others({"http://10.0.0.2:2380": RUNNING})
    elsewhere = {"initial_cluster_state": "existing", "initial_advertise_peer_urls": parse_urls("http://x:1")}
    assert (await start(config("c", **elsewhere), others)).identity.member_id == 3
    assert "couldn't find local name" in await refusal(config("d", **elsewhere), others)
    twice = config("a", **elsewhere, initial_cluster=CLUSTER + ",d=http://10.0.0.1:2380")
    assert "has duplicate url" in await refusal(twice, others)


async def test_who_joins_may_name_hosts_that_the_cluster_knows_by_address() -> None:
    listed = CLUSTER.replace("10.0.0.3", "three").replace("10.0.0.2", "two")
    others = Others({"http://10.0.0.1:2380": RUNNING})
    joining = config("c", initial_cluster_state="existing", initial_cluster=listed)
    names = Names(two="10.0.0.2", three="10.0.0.3")
    assert (await start(joining, others, names)).identity.member_id == 3
    with pytest.raises(UsageError, match="no match found for existing member \\(2, "):
        await start(joining, others, Names(two="10.0.0.7", three="10.0.0.3"))


# Texts as a real etcd has them; what stands in parentheses is 3.6's.
@pytest.mark.parametrize(
    ("advertised", "listed", "message"),
    [
        (
            "http://10.0.0.1:2380,http://10.0.0.1:2381",
            "a=http://10.0.0.1:2380",
            "--initial-advertise-peer-urls has http://10.0.0.1:2381 but missing from "
            "--initial-cluster=a=http://10.0.0.1:2380,a=http://10.0.0.1:2381",
        ),
        (
            "http://localhost:2380",
            "a=http://127.0.0.1:2380",
            "--initial-cluster has a=http://127.0.0.1:2380 but missing from "
            "--initial-advertise-peer-urls=http://localhost:2380 "
            '(resolved urls: "http://localhost:2380" != "http://127.0.0.1:2380")',
        ),
        (
            "http://localhost:2380",
            "a=http://localhost:2380,a=http://localhost:2380",
            "failed to resolve http://localhost:2380 to match --initial-cluster=a=http://localhost:2380 "
            '(len(["http://localhost:2380"]) != len(["http://localhost:2380" "http://localhost:2380"]))',
        ),
    ],
)
async def test_urls_advertised_and_listed_must_be_the_same(
    advertised: str, listed: str, message: str
) -> None:
    founder = config("a", initial_advertise_peer_urls=parse_urls(advertised), initial_cluster=listed)
    assert await refusal(founder, Others()) == message


async def test_a_founder_may_advertise_a_name_for_its_address() -> None:
    named = config("a", initial_advertise_peer_urls=parse_urls("http://one:2380"))
    assert await start(named, Others(), Names(one="10.0.0.1")) == found(config("a"))


# -- by force ----------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["voter", "learner", "stranger"])
def test_forged_entries_leave_one_voter_and_commit_the_whole_log(role: str) -> None:
    beginning = found(config("a"))
    own = beginning.identity.member_id
    assert beginning.hard_state is not None
    others = {member for entry in beginning.entries for member in decode_configuration(entry.data)[0].voters}
    marker = None
    entries = list(beginning.entries)
    if role != "voter":
        learners = frozenset({own} if role == "learner" else ())
        marker = SnapshotMarker(3, 1, Configuration(frozenset(others - {own}), learners))
        entries = []
    recovered = Recovered(b"", attrs.evolve(beginning.hard_state, commit=1), marker, entries)
    state, forged = sole_member_entries(own, recovered)
    configurations = [decode_configuration(entry.data)[0] for entry in forged]
    assert configurations[-1] == Configuration(frozenset({own}))
    assert [entry.index for entry in forged] == list(range(4, 4 + len(forged)))
    assert state.commit == forged[-1].index
    for before, after in itertools.pairwise(configurations):
        assert len(before.members ^ after.members) == 1
    if role == "voter":
        machine = StateMachine()
        for entry in [*entries, *forged]:
            machine.apply_configuration(decode_configuration(entry.data)[1])
        assert [member.id for member in machine.members.all()] == [own]
        again = Recovered(b"", state, None, [*entries, *forged])
        assert sole_member_entries(own, again) == (state, [])
