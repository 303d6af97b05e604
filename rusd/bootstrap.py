"""What a member is before it has any data: a founder of a cluster, or one that joins a running one.

Both ways end in the same two values: an identity, and the first entries of the
log.  A founder computes everything from its flags, as all the others do, and
begins with the entries that bring the founders in.  One that joins was added to
the cluster before; it asks the others who they are, finds itself among them by
its peer URLs, and begins with an empty log.

Not the data directory: that is :mod:`rusd.member`.  Checks and their words are
etcd's (``server/etcdserver/bootstrap.go`` and ``cluster_util.go``, release 3.6).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import attrs

from etcdpb import rusd_pb2
from rusd import peers
from rusd.config import check_unique, listed_members, mismatch, parse_initial_cluster
from rusd.config.errors import failed_start
from rusd.peers import PeerError
from rusd.raft import Entry, HardState, bootstrap
from rusd.state import Member, cluster_id, member_id
from rusd.version import parse_version, versions_to_join

if TYPE_CHECKING:
    from rusd.addresses import Addresses
    from rusd.config import Config
    from rusd.environment import Environment
    from rusd.logs import Logger

FETCH_TIMEOUT_SECONDS = 10.0
"""For one peer's answer to who the members are."""

FOUNDED_TIMEOUT_SECONDS = 1.0
"""The same for a founder, which only makes sure that it has not been there before."""

_NO_INFO = "cannot fetch cluster info from peer urls"


class Strangers(Protocol):
    """Peers of whom nothing is known but their URLs.

    All raise :class:`PeerError`, also if no answer came within ``timeout`` seconds.
    """

    async def fetch_members(self, url: str, timeout: float) -> tuple[int, Sequence[Member]]:
        """The cluster's id and its members, as the peer at ``url`` has them."""

    async def fetch_version(self, url: str, timeout: float) -> tuple[str, str]:
        """The server's version and the cluster's, as the peer at ``url`` has them."""

    async def fetch_downgrade_enabled(self, url: str, timeout: float) -> bool:
        """Whether the peer's cluster is on its way to an older version."""


class PeerPorts:
    """Strangers, asked over the HTTP side of their peer ports."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    async def fetch_members(self, url: str, timeout: float) -> tuple[int, Sequence[Member]]:
        return await peers.fetch_members(self._environment, [url], timeout=timeout)

    async def fetch_version(self, url: str, timeout: float) -> tuple[str, str]:
        return await peers.fetch_version(self._environment, url, timeout=timeout)

    async def fetch_downgrade_enabled(self, url: str, timeout: float) -> bool:
        return await peers.fetch_downgrade_enabled(self._environment, url, timeout=timeout)


@attrs.frozen
class Beginning:
    """A new member's identity, and what its log begins with."""

    identity: rusd_pb2.Identity
    hard_state: HardState | None = None
    entries: Sequence[Entry] = ()


async def begin(config: Config, strangers: Strangers, addresses: Addresses, log: Logger) -> Beginning:
    """The beginning that ``config`` asks for.  Raises :class:`~rusd.config.UsageError`."""
    if config.initial_cluster_state == "existing":
        return await _join(config, strangers, addresses, log)
    own_urls = listed_members(config)[config.name]
    difference = await addresses.difference(map(str, config.initial_advertise_peer_urls), map(str, own_urls))
    if difference:
        raise mismatch(config, own_urls, difference)
    beginning = found(config)
    own = beginning.identity.member_id
    if await _was_here_before(own, _others(config), strangers):
        raise failed_start(f"member {own:x} has already been bootstrapped")
    return beginning


# -- founding -----------------------------------------------------------------------------


def found(config: Config) -> Beginning:
    """A founder's beginning, the same for each of them.  Raises :class:`~rusd.config.UsageError`."""
    check_unique(listed_members(config))
    members = _founders(config)
    own = members[config.name]
    ids = [member.id for member in members.values()]
    hard_state, entries = bootstrap(
        [(member.id, _addition(member).SerializeToString()) for member in _by_id(members.values())]
    )
    identity = rusd_pb2.Identity(cluster_id=cluster_id(ids), member_id=own.id)
    return Beginning(identity, hard_state, entries)


def _founders(config: Config) -> Mapping[str, Member]:
    members: dict[str, Member] = {}
    for name, urls in parse_initial_cluster(config.initial_cluster).items():
        peer_urls = tuple(sorted(map(str, urls)))
        members[name] = Member(member_id(peer_urls, config.initial_cluster_token), peer_urls)
    return members


def _addition(member: Member) -> rusd_pb2.ConfigurationChange:
    return rusd_pb2.ConfigurationChange(
        type=rusd_pb2.ConfigurationChange.ADD_MEMBER,
        member=rusd_pb2.Member(id=member.id, peer_urls=member.peer_urls),
    )


async def _was_here_before(own: int, urls: Sequence[str], strangers: Strangers) -> bool:
    """Whether the cluster exists and has seen this member run: its data are gone, and so are its votes."""
    for url in urls:
        try:
            _, members = await strangers.fetch_members(url, FOUNDED_TIMEOUT_SECONDS)
        except PeerError:
            continue
        return any(member.id == own and member.client_urls for member in members)
    return False


# -- joining -------------------------------------------------------------------------------


async def _join(config: Config, strangers: Strangers, addresses: Addresses, log: Logger) -> Beginning:
    # Its URLs were announced when it was added, so those it advertises now don't matter.
    check_unique(listed_members(config))
    cluster, members = await _ask_around(_others(config), strangers, log)
    try:
        own = await _find_own(config, members, addresses)
    except ValueError as error:
        raise failed_start(f"error validating peerURLs {_in_go(cluster, members)}: {error}") from None
    if not await _is_compatible(own, members, strangers, log):
        raise failed_start("incompatible with current running cluster")
    if sum(member.is_learner for member in members) > config.max_learners:
        raise failed_start("membership: too many learner members in cluster")
    return Beginning(rusd_pb2.Identity(cluster_id=cluster, member_id=own.id))


async def _ask_around(urls: Sequence[str], strangers: Strangers, log: Logger) -> tuple[int, Sequence[Member]]:
    """The first answer to who the members are."""
    for url in urls:
        try:
            cluster, members = await strangers.fetch_members(url, FETCH_TIMEOUT_SECONDS)
        except PeerError as error:
            log.warn("failed to get cluster response", address=f"{url}/members", error=error)
            continue
        if not members:
            raise failed_start(f"{_NO_INFO}: failed to get raft cluster member(s) from the given URLs")
        return cluster, _by_id(members)
    raise failed_start(f"{_NO_INFO}: could not retrieve cluster information from the given URLs")


async def _find_own(config: Config, members: Sequence[Member], addresses: Addresses) -> Member:
    """This member among those of the cluster; each of which ``--initial-cluster`` must list."""
    initial = parse_initial_cluster(config.initial_cluster)
    listed = {name: list(map(str, urls)) for name, urls in initial.items()}
    if len(members) != len(listed):
        raise ValueError("member count is unequal")
    own: Member | None = None
    for member in members:
        if await _name_of(member, listed, addresses) == config.name:
            own = member
    if own is None:
        raise ValueError(f"unmatched member with the name {config.name}")
    return own


async def _name_of(member: Member, listed: Mapping[str, Sequence[str]], addresses: Addresses) -> str:
    """Under which name a member of the cluster is listed.  Raises :class:`ValueError`."""
    for name, urls in listed.items():  # nothing has to be looked up for most
        if sorted(urls) == sorted(member.peer_urls):
            return name
    difference = ""
    for name, urls in listed.items():
        difference = await addresses.difference(member.peer_urls, urls)
        if not difference:
            return name
    listing = " ".join(member.peer_urls)
    raise ValueError(
        f"PeerURLs: no match found for existing member ({member.id:x}, [{listing}]), "
        f"last resolver error ({difference})"
    )


async def _is_compatible(own: Member, members: Sequence[Member], strangers: Strangers, log: Logger) -> bool:
    """Whether somebody speaks a cluster version that this server may join, and nobody another one."""
    others = [member for member in members if member.id != own.id]
    found = False
    lowest, highest = versions_to_join(downgrading=await _is_downgrading(others, strangers, log))
    for member in others:
        version = await _cluster_version(member, strangers)
        parsed = None if version is None else parse_version(version)
        if parsed is None:
            log.warn("failed to get version", remote_member_id=f"{member.id:x}")
            continue
        if not lowest <= parsed <= highest:
            problem = "too low" if parsed < lowest else "too high"
            log.warn(
                f"cluster version of remote member is not compatible; {problem}",
                remote_member_id=f"{member.id:x}",
                remote_member_cluster_version=version,
                lowest_cluster_version_supported=".".join(map(str, lowest)),
                highest_cluster_version_supported=".".join(map(str, highest)),
            )
            return False
        found = True
    return found


async def _is_downgrading(others: Sequence[Member], strangers: Strangers, log: Logger) -> bool:
    """Whether the cluster is on its way to an older version, as the first member says that knows."""
    for member in others:
        problem: object = "it has no peer URL"
        for url in member.peer_urls:
            try:
                return await strangers.fetch_downgrade_enabled(url, FETCH_TIMEOUT_SECONDS)
            except PeerError as error:
                problem = error
        log.warn("failed to get downgrade enabled status", remote_member_id=f"{member.id:x}", error=problem)
    return False


async def _cluster_version(member: Member, strangers: Strangers) -> str | None:
    for url in member.peer_urls:
        try:
            _, version = await strangers.fetch_version(url, FETCH_TIMEOUT_SECONDS)
        except PeerError:
            continue
        return version
    return None


# -- both ------------------------------------------------------------------------------------


def _others(config: Config) -> Sequence[str]:
    """Peer URLs of the initial cluster that are not this member's, in order."""
    members = parse_initial_cluster(config.initial_cluster)
    return sorted(str(url) for name, urls in members.items() if name != config.name for url in urls)


def _by_id(members: Iterable[Member]) -> Sequence[Member]:
    return sorted(members, key=lambda member: member.id)


def _in_go(cluster: int, members: Sequence[Member]) -> str:
    """A cluster as etcd's message shows it."""
    shown = " ".join(
        f"&{{ID:{member.id:x} RaftAttributes:{{PeerURLs:[{' '.join(member.peer_urls)}] "
        f"IsLearner:{str(member.is_learner).lower()}}} "
        f"Attributes:{{Name:{member.name} ClientURLs:[{' '.join(member.client_urls)}]}}}}"
        for member in members
    )
    return f"{{ClusterID:{cluster:x} Members:[{shown}] RemovedMemberIDs:[]}}"
