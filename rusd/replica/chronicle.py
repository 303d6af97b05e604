"""What the log says of elections and configurations, in etcd's words.

Operators and test tools read "became leader" and "elected leader" to learn who leads since when.  Raft itself
writes no log; so a node is looked at after whatever may have moved it, and what is other than
before is told.  Moves between two looks are told as one: a single member that makes itself leader
was a candidate for no time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rusd.raft import NOBODY, Role

if TYPE_CHECKING:
    from rusd.logs import Logger
    from rusd.raft import Configuration, Node


class Chronicle:
    """Tells what changes about one node."""

    def __init__(self, node: Node, log: Logger) -> None:
        self._node = node
        self._log = log.bind(logger="raft")
        self._id = f"{node.id:x}"
        self._now = (node.role, node.term, node.leader_id)
        self._configuration = node.configuration

    def begin(self) -> None:
        """Tell what the node starts with."""
        node = self._node
        peers = ",".join(f"{voter:x}" for voter in sorted(node.configuration.voters))
        self._log.info(
            f"newRaft {self._id} [peers: [{peers}], term: {node.term}, commit: {node.commit_index}, "
            f"applied: {node.applied_index}, lastindex: {node.last_index}, lastterm: {node.log.last_term}]"
        )
        self._log.info(f"{self._id} became {node.role.value} at term {node.term}")

    def look(self) -> None:
        """Tell what has changed.  Called often: it is cheap when nothing has."""
        node = self._node
        now = (node.role, node.term, node.leader_id)
        if now != self._now:
            (role, term, leader), self._now = self._now, now
            self._tell_of_role(role, term)
            self._tell_of_leader(leader)
        if node.configuration is not self._configuration:
            self._configuration = node.configuration
            self._log.info(f"{self._id} switched to configuration {_told(node.configuration)}")

    def _tell_of_role(self, role: Role, term: int) -> None:
        node = self._node
        if role is Role.FOLLOWER and node.role is not Role.FOLLOWER:
            self._log.info(f"{self._id} is starting a new election at term {term}")
        if (node.role, node.term) != (role, term):
            self._log.info(f"{self._id} became {node.role.value} at term {node.term}")

    def _tell_of_leader(self, before: int) -> None:
        leader, term = self._node.leader_id, self._node.term
        if leader == before:
            return
        if leader == NOBODY:
            what = f"lost leader {before:x}"
        elif before == NOBODY:
            what = f"elected leader {leader:x}"
        else:
            what = f"changed leader from {before:x} to {leader:x}"
        self._log.info(f"raft.node: {self._id} {what} at term {term}")


def _told(configuration: Configuration) -> str:
    """As etcd's raft writes it: ids are decimal here."""
    voters = " ".join(map(str, sorted(configuration.voters)))
    learners = " ".join(map(str, sorted(configuration.learners)))
    return f"voters=({voters})" + (f" learners=({learners})" if learners else "")
