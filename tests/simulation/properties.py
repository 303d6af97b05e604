"""What must always hold, by name.  A violation says which property it was that did not."""

from __future__ import annotations

ELECTION_SAFETY = "election safety"
"""Figure 3: at most one leader can be elected in a given term."""

LOG_MATCHING = "log matching"
"""Figure 3: logs with an entry of the same index and term are identical up to it."""

LEADER_COMPLETENESS = "leader completeness"
"""Figure 3: an entry committed in a term is present in the logs of the leaders of all later terms."""

STATE_MACHINE_SAFETY = "state machine safety"
"""Figure 3: no two servers ever apply different entries at one index, or come to different states by it."""

QUORUM = "commitment by a durable majority"
"""§5.3, 10.2.1: when an entry is first committed, a majority of the voters has it on stable storage."""

STABLE_STORAGE = "stable storage before responding"
"""Figure 2: term, vote and entries are durable before anything leaves that depends on them."""

DURABILITY = "durability"
"""A restart finds what was synced, and a batch that was not synced whole or not at all."""

ACKNOWLEDGED = "acknowledged entries stay"
"""§5.3: what a follower has acknowledged to the leader of a term is not deleted in that term."""

APPLIED = "applied is committed and durable"
"""Only what is committed, and on this server's own disk, is applied, in order and once."""

ONE_CHANGE = "one change at a time"
"""4.1: a configuration differs by one server from the newest one known to be committed."""

LEADER_VOTES = "a leader is a voter"
"""4.2: learners and removed servers do not lead."""

LINEARIZABILITY = "linearizability"
"""Each answer is that of a single store at one instant between question and answer."""

ONCE = "at most once"
"""A proposal is applied once, whatever the network does; and an answer belongs to its own request."""

SERIALIZABLE = "serializable reads"
"""A serializable read is the store at one revision, and a server's revisions never go back."""

WATCH = "watch"
"""Events are ordered, unique, complete and whole per revision; progress comes after what it tells of."""

LEASE = "leases are not shortened"
"""A lease is not revoked for lack of time before its last acknowledged renewal has run out."""

INVARIANTS = "invariants"
"""What each part says of itself in check(), and what it calls impossible."""

LEADER_FOUND = "a leader is found"
"""Faults have stopped: within a bounded number of ticks all members follow one leader."""

TERMS_STAY = "terms stay bounded"
"""Faults have stopped: few terms pass until there is a leader, and none after."""

LEADER_STAYS = "no healthy leader is deposed"
"""9.6, 4.2.3: a server that was cut off comes back without disturbing anyone."""

STEPS_DOWN = "a leader without a quorum steps down"
"""6.2: within two election timeouts, so that its clients look for the new one."""

CAUGHT_UP = "every follower catches up"
"""Faults have stopped: every member applies everything, and all states are equal."""

PROGRESS = "work goes on"
"""Faults have stopped: what is asked for is answered, and watchers hear of everything."""


class Violation(AssertionError):  # noqa: N818 - as the paper says "safety"
    """A property did not hold."""

    def __init__(self, what: str, text: str) -> None:
        super().__init__(f"{what}: {text}")
        self.property = what
