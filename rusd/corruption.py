"""Whether all members have the same history: their hashes are compared, and a CORRUPT alarm raised.

Three checks, all off by default: one when a member starts, before it serves
anybody; one now and then on the leader, of the history up to its revision; and one of
the hashes that each member remembers of its last compactions.  Conditions and
words are etcd's (``server/etcdserver/corrupt.go``, release 3.6).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
from google.protobuf.message import DecodeError

from etcdpb import rpc_pb2
from rusd.grpc import StatusError
from rusd.raft import Role
from rusd.replica import ReplicaError
from rusd.replica.peers import PeerError
from rusd.services.hashing import finish_hash
from rusd.services.maintenance import HASH_KV
from rusd.services.reconfiguration import quorum
from rusd.state import CORRUPT, Kind

if TYPE_CHECKING:
    from rusd.mvcc import HashKv
    from rusd.services.context import Context


class InconsistentError(Exception):
    """This member's history is not that of the others."""


@attrs.frozen
class PeerHash:
    """What a member answered: its hash, or ``None`` with the reason."""

    member: int
    answer: rpc_pb2.HashKVResponse | None
    problem: str = ""


class CorruptionChecker:
    """Compares this member's history with that of the others."""

    def __init__(self, context: Context) -> None:
        self._replica = context.replica
        self._machine = context.machine
        self._remote = context.remote
        self._clock = context.clock
        self._log = context.log
        self._work = context.work
        self._own_id = context.header.member_id
        self._request_timeout = context.request_timeout
        self._checked_revision = 0  # of the newest compaction that all members agreed on

    async def run(self, interval: float) -> None:
        """Compare histories every ``interval`` seconds while this member leads.  Runs until cancelled."""
        self._log.info(
            "enabled corruption checking", local_member_id=f"{self._own_id:x}", interval=f"{interval:g}s"
        )
        while True:
            await self._clock.sleep_until(self._clock.monotonic() + interval)
            if self._leads():
                try:
                    await self.check()
                except ReplicaError as error:
                    self._log.warn("failed to check hash KV", error=error)

    async def run_of_compactions(self, interval: float) -> None:
        """The same with the hashes of compactions.  Runs until cancelled."""
        while True:
            await self._clock.sleep_until(self._clock.monotonic() + interval)
            if self._leads():
                await self.check_compactions()

    def _leads(self) -> bool:
        return self._replica.core.node.role is Role.LEADER

    # -- at start -------------------------------------------------------------------------

    async def check_at_start(self) -> None:
        """Raise :class:`InconsistentError` if a peer has another history up to this member's revision."""
        self._log.info(
            "starting initial corruption check",
            local_member_id=f"{self._own_id:x}",
            timeout=f"{self._request_timeout:g}s",
        )
        own = await self._own_hash()
        mismatches = 0
        for peer in await self._peer_hashes(own.hash_revision):
            if peer.answer is None:
                self._log.warn(
                    "cannot fetch hash from remote peer",
                    remote_peer_id=f"{peer.member:x}",
                    error=peer.problem,
                )
            elif peer.answer.hash != own.hash:
                comparable = peer.answer.compact_revision == own.compact_revision
                mismatches += comparable
                what = "hash" if comparable else "compact revision"
                self._log.warn(
                    f"found different {what} values from remote peer",
                    local_member_id=f"{self._own_id:x}",
                    local_member_revision=own.hash_revision,
                    local_member_compact_revision=own.compact_revision,
                    local_member_hash=own.hash,
                    remote_peer_id=f"{peer.member:x}",
                    remote_peer_compact_revision=peer.answer.compact_revision,
                    remote_peer_hash=peer.answer.hash,
                )
        if mismatches:
            raise InconsistentError(f"{self._own_id:x} found data inconsistency with peers")
        self._log.info(
            "initial corruption checking passed; no corruption", local_member_id=f"{self._own_id:x}"
        )

    # -- now and then ------------------------------------------------------------------------

    async def check(self) -> None:
        """Compare this leader's history with the others', and raise the alarm for one that differs.

        Raises a :class:`~rusd.replica.ReplicaError` if it can't be told that this member still leads.
        """
        first = await self._own_hash()
        peers = await self._peer_hashes(first.hash_revision)
        await self._replica.wait_linearizable()
        store = self._machine.store
        revision = store.current_revision
        second = await self._own_hash()
        culprit: int | None = None
        if (second.hash_revision, second.compact_revision) == (
            first.hash_revision,
            first.compact_revision,
        ) and (second.hash != first.hash):
            self._log.warn("found hash mismatch", revision=revision, hash_1=first.hash, hash_2=second.hash)
            culprit = self._own_id
        for peer in peers:
            if peer.answer is None:
                continue
            problem = _problem_with(peer.answer, first, second, revision)
            if problem:
                self._log.warn(
                    problem,
                    follower_peer_id=f"{peer.member:x}",
                    leader_revision=revision,
                    follower_revision=peer.answer.header.revision,
                    leader_compact_revision=second.compact_revision,
                    follower_compact_revision=peer.answer.compact_revision,
                    leader_hash=first.hash,
                    follower_hash=peer.answer.hash,
                )
                culprit = peer.member if culprit is None else culprit
        if culprit is not None:
            self._raise_alarm(culprit)
        checked = sum(peer.answer is not None for peer in peers)
        self._log.info("finished peer corruption check", number_of_peers_checked=checked)

    # -- compactions --------------------------------------------------------------------------

    async def check_compactions(self) -> None:
        """Compare what members remember of the newest compaction that all of them can tell of."""
        self._log.info(
            "starting compact hash check",
            local_member_id=f"{self._own_id:x}",
            timeout=f"{self._request_timeout:g}s",
        )
        hashes = sorted(self._machine.store.compaction_hashes, key=lambda item: -item.hash_revision)
        checked = 0
        for own in hashes:
            if own.hash_revision <= self._checked_revision:
                break
            checked += 1
            peers = await self._peer_hashes(own.hash_revision)
            if peers and self._judge(own, peers):
                break
        self._log.info("finished compaction hash check", number_of_hashes_checked=checked)

    def _judge(self, own: HashKv, peers: Sequence[PeerHash]) -> bool:
        """Whether that settles it: all agree, or somebody is wrong.  Else an older compaction may."""
        by_hash: dict[int, list[int]] = {own.hash: [self._own_id]}
        compared = 0
        for peer in peers:
            answer = peer.answer
            if answer is None or answer.compact_revision != own.compact_revision:
                reason = "no response" if answer is None else "it was compacted from another revision"
                self._log.warn("Skipped peer's hash", peer_id=f"{peer.member:x}", reason=reason)
                continue
            compared += 1
            by_hash.setdefault(answer.hash, []).append(peer.member)
        if len(by_hash) == 1:
            return self._note_agreement(own, compared, len(peers))
        majority = [hash_ for hash_, members in by_hash.items() if len(members) >= quorum(len(peers) + 1)]
        for hash_ in majority:
            del by_hash[hash_]
        # Where no majority agrees nobody can say who is wrong: 0 means the whole cluster.
        culprits = [member for members in by_hash.values() for member in members] if majority else [0]
        for culprit in culprits:
            self._raise_alarm(culprit)
        for hash_, members in by_hash.items():
            self._log.error(
                "Detected compaction hash mismatch",
                leader_id=f"{self._own_id:x}",
                leader_revision=own.hash_revision,
                leader_compact_revision=own.compact_revision,
                leader_hash=own.hash,
                peer_hash=hash_,
                peer_ids=",".join(f"{member:x}" for member in members),
                quorum_exist=bool(majority),
            )
        return True

    def _note_agreement(self, own: HashKv, compared: int, asked: int) -> bool:
        if compared < asked:
            self._log.warn(
                "skipped revision in compaction hash check; was not able to check all peers",
                number_of_peers_checked=compared,
                number_of_peers=asked,
                revision=own.hash_revision,
            )
            return False
        self._log.info(
            "successfully checked hash on whole cluster",
            number_of_peers_checked=compared,
            revision=own.hash_revision,
        )
        self._checked_revision = max(self._checked_revision, own.hash_revision)
        return True

    # -- asking, and telling -----------------------------------------------------------------

    async def _own_hash(self) -> HashKv:
        return await finish_hash(self._machine.store.hash_kv(0), self._work)

    async def _peer_hashes(self, revision: int) -> list[PeerHash]:
        request = rpc_pb2.HashKVRequest(revision=revision).SerializeToString()
        others = [member.id for member in self._machine.members.all() if member.id != self._own_id]
        return [await self._ask(other, request) for other in others]

    async def _ask(self, member: int, request: bytes) -> PeerHash:
        try:
            answer = await self._remote.call(member, HASH_KV, request, self._request_timeout)
            return PeerHash(member, rpc_pb2.HashKVResponse.FromString(answer))
        except StatusError as error:
            problem = error.message
        except (PeerError, DecodeError) as error:
            problem = str(error)
        self._log.warn(
            "failed hash kv request",
            local_member_id=f"{self._own_id:x}",
            remote_peer_id=f"{member:x}",
            error=problem,
        )
        return PeerHash(member, None, problem)

    def _raise_alarm(self, member: int) -> None:
        request = rpc_pb2.AlarmRequest(action=rpc_pb2.AlarmRequest.ACTIVATE, memberID=member, alarm=CORRUPT)
        try:
            self._replica.propose(Kind.ALARM, request, lambda _result, _error: None)
        except ReplicaError as error:
            self._log.error("failed to raise a CORRUPT alarm", member_id=f"{member:x}", error=error)


def _problem_with(answer: rpc_pb2.HashKVResponse, first: HashKv, second: HashKv, revision: int) -> str | None:
    """What a follower can't answer if its history is the leader's.

    The leader's own hash was taken before (``first``) and after (``second``) the follower's.
    """
    if answer.header.revision > revision:
        return "revision from follower must be less than or equal to leader's"
    if answer.compact_revision > second.compact_revision:
        return "compact revision from follower must be less than or equal to leader's"
    if answer.compact_revision == first.compact_revision and answer.hash != first.hash:
        return "same compact revision then hashes must match"
    return None
