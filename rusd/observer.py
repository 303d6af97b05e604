"""What the state machine tells the other parts of a server.

It happens in the turn in which the state changes, so nothing here may take long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rusd.state import Member, Observer
from rusd.version import ETCD_VERSION

if TYPE_CHECKING:
    from rusd.background import Compactor
    from rusd.environment import Environment
    from rusd.lease import Lessor
    from rusd.logs import Logger
    from rusd.mvcc import Compaction, Record, Store
    from rusd.services import Quota
    from rusd.steps import Steps, Turn
    from rusd.watch import WatchHub


class ServerObserver(Observer):
    """Passes on what happens in the state machine.  The parts are filled in as they are made."""

    hub: WatchHub
    lessor: Lessor
    compactor: Compactor
    quota: Quota
    store: Callable[[], Store]

    def __init__(self, environment: Environment, log: Logger) -> None:
        self._clock = environment.clock
        self._log = log

    def revision_published(self, revision: int, records: Sequence[Record]) -> None:
        self.hub.publish(revision, records)

    def is_long(self, changes: int) -> bool:
        return self.hub.is_long(changes)

    def revision_steps(
        self, revision: int, records: Sequence[Record], turn: Turn
    ) -> Steps[Callable[[], None]]:
        return self.hub.publish_steps(revision, records, turn)

    def history_compacted(self, job: Compaction) -> None:
        self.quota.about_to_shrink()
        self.hub.compacted(job.revision)
        self.compactor.add(job)

    def state_replaced(self) -> None:
        self.hub.history_replaced(self.store())
        self.lessor.demote()  # only a follower is sent a snapshot
        self.quota.defragment()

    def lease_granted(self, lease_id: int, ttl: int) -> None:
        self.lessor.on_granted(lease_id, self._clock.monotonic())

    def lease_revoked(self, lease_id: int) -> None:
        self.lessor.on_revoked(lease_id)

    def lease_checkpointed(self, lease_id: int, remaining_ttl: int) -> None:
        self.lessor.on_checkpointed(lease_id, self._clock.monotonic())

    def member_added(self, member: Member) -> None:
        self._log.info(
            "added member",
            added_peer_id=f"{member.id:x}",
            added_peer_peer_urls=member.peer_urls,
            added_peer_is_learner=member.is_learner,
        )

    def member_removed(self, member_id: int) -> None:
        self._log.info("removed member", removed_remote_peer_id=f"{member_id:x}")

    def member_promoted(self, member: Member) -> None:
        self._log.info("promote member", promoted_member_id=f"{member.id:x}")

    def member_updated(self, member: Member) -> None:
        self._log.info(
            "updated member",
            updated_remote_peer_id=f"{member.id:x}",
            updated_remote_peer_urls=member.peer_urls,
            updated_remote_peer_is_learner=member.is_learner,
        )

    def cluster_version_changed(self, version: str, before: str) -> None:
        short = version.rpartition(".")[0]
        if before:
            was = before.rpartition(".")[0]
            self._log.info("updated cluster version", **{"from": was, "to": short})
        else:
            self._log.info("set initial cluster version", cluster_version=short)
        self._log.info("enabled capabilities for version", cluster_version=short)

    def ready_to_downgrade(self, target: str) -> None:
        self._log.info("The server is ready to downgrade", target_version=target, server_version=ETCD_VERSION)
