"""Changes of the configuration, as the log brings them."""

from __future__ import annotations

import pytest

from etcdpb import rusd_pb2
from rusd.state import (
    Member,
    MemberExistsError,
    MemberNotFoundError,
    MemberNotLearnerError,
    MemberRemovedError,
    Observer,
    StateMachine,
)

Change = rusd_pb2.ConfigurationChange


class Told(Observer):
    """Notes who came and went."""

    def __init__(self) -> None:
        self.added: list[int] = []
        self.removed: list[int] = []

    def member_added(self, member: Member) -> None:
        self.added.append(member.id)

    def member_removed(self, member_id: int) -> None:
        self.removed.append(member_id)


def apply(machine: StateMachine, kind: Change.Type, member: int, *urls: str) -> list[Member]:
    change = Change(type=kind, member=rusd_pb2.Member(id=member, peer_urls=urls))
    return machine.apply_configuration(change.SerializeToString())


@pytest.fixture
def machine() -> StateMachine:
    machine = StateMachine(Told())
    apply(machine, Change.ADD_MEMBER, 7, "http://h7:2380")
    return machine


def test_a_change_answers_with_the_members_there_are_then(machine: StateMachine) -> None:
    members = apply(machine, Change.ADD_LEARNER, 3, "http://h3:2380")
    assert [(member.id, member.is_learner) for member in members] == [(3, True), (7, False)]


def test_a_promoted_learner_keeps_all_but_its_lack_of_a_vote(machine: StateMachine) -> None:
    apply(machine, Change.ADD_LEARNER, 3, "http://h3:2380")
    machine.members.set_attributes(3, "three", ["http://h3:2379"])
    apply(machine, Change.PROMOTE_LEARNER, 3)
    assert machine.members.get(3) == Member(3, ("http://h3:2380",), "three", ("http://h3:2379",))


def test_a_removed_member_does_not_come_back(machine: StateMachine) -> None:
    apply(machine, Change.ADD_MEMBER, 3)
    assert [member.id for member in apply(machine, Change.REMOVE_MEMBER, 3)] == [7]
    assert machine.members.is_removed(3)
    apply(machine, Change.ADD_MEMBER, 3)
    assert machine.members.get(3) is None
    assert isinstance(machine.observer, Told)
    assert machine.observer.removed == [3]
    machine.check()


def test_a_member_that_moves_is_found_at_its_new_urls(machine: StateMachine) -> None:
    apply(machine, Change.UPDATE_MEMBER, 7, "http://new:2380")
    member = machine.members.get(7)
    assert member is not None and member.peer_urls == ("http://new:2380",)


@pytest.mark.parametrize("kind", [Change.REMOVE_MEMBER, Change.PROMOTE_LEARNER, Change.UPDATE_MEMBER])
def test_a_change_of_a_stranger_changes_nothing(machine: StateMachine, kind: Change.Type) -> None:
    assert [member.id for member in apply(machine, kind, 99)] == [7]
    assert machine.members.removed() == []


def check(machine: StateMachine, kind: Change.Type, member: int) -> None:
    change = Change(type=kind, member=rusd_pb2.Member(id=member))
    machine.check_configuration(change.SerializeToString())


def test_changes_that_make_sense_are_not_refused(machine: StateMachine) -> None:
    apply(machine, Change.ADD_LEARNER, 3)
    check(machine, Change.ADD_MEMBER, 4)
    check(machine, Change.ADD_LEARNER, 4)
    check(machine, Change.PROMOTE_LEARNER, 3)
    check(machine, Change.REMOVE_MEMBER, 7)
    check(machine, Change.UPDATE_MEMBER, 7)
    assert [member.id for member in machine.members.all()] == [3, 7]


@pytest.mark.parametrize(
    ("kind", "member", "error"),
    [
        (Change.ADD_MEMBER, 7, MemberExistsError),
        (Change.ADD_LEARNER, 7, MemberExistsError),
        (Change.ADD_MEMBER, 5, MemberRemovedError),
        (Change.PROMOTE_LEARNER, 7, MemberNotLearnerError),
        (Change.PROMOTE_LEARNER, 9, MemberNotFoundError),
        (Change.REMOVE_MEMBER, 9, MemberNotFoundError),
        (Change.REMOVE_MEMBER, 5, MemberRemovedError),
        (Change.UPDATE_MEMBER, 9, MemberNotFoundError),
    ],
)
def test_changes_that_make_no_sense_are_refused(
    machine: StateMachine, kind: Change.Type, member: int, error: type[Exception]
) -> None:
    apply(machine, Change.ADD_MEMBER, 5)
    apply(machine, Change.REMOVE_MEMBER, 5)
    with pytest.raises(error):
        check(machine, kind, member)
