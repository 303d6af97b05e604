"""Proposals as bytes, members and their ids, alarms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdpb import rpc_pb2
from rusd.state import (
    CORRUPT,
    NOSPACE,
    Alarms,
    Kind,
    Member,
    Membership,
    alarm_name,
    cluster_id,
    member_id,
    proposal,
)

uint64 = st.integers(0, 2**64 - 1)


# -- proposals ----------------------------------------------------------------------------------


@given(st.sampled_from(list(Kind)), uint64, st.integers(0, 2**32 - 1), st.integers(1, 2**64 - 1), uint64)
def test_a_proposal_comes_back_as_it_went_in(
    kind: Kind, member: int, boot: int, number: int, term: int
) -> None:
    request = proposal.REQUEST_TYPES[kind]()
    data = proposal.encode(kind, member, boot, number, request, term=term)
    decoded = proposal.decode(data)
    assert (decoded.kind, decoded.term, decoded.request) == (kind, term, request)
    assert decoded.request_id == proposal.RequestId(member, boot, number)
    assert proposal.read_head(data) == (kind, member, boot, number, term)


def test_a_request_survives_with_all_its_fields() -> None:
    request = rpc_pb2.PutRequest(key=b"\0k", value=b"\xff" * 300, lease=-5, prev_kv=True)
    assert proposal.decode(proposal.encode(Kind.PUT, 1, 2, 3, request)).request == request


@pytest.mark.parametrize(
    "data", [b"", b"\1", b"\1" * 28, b"\0" + b"\1" * 30, b"\xee" + b"\1" * 30, b"\1" * 29 + b"\xff"]
)
def test_bytes_that_are_no_proposal_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - several texts, one meaning
        proposal.decode(data)


def test_every_kind_has_a_request_and_a_number_for_ever() -> None:
    assert set(proposal.REQUEST_TYPES) == set(Kind)
    assert {kind.name: kind.value for kind in Kind} == {
        "PUT": 1,
        "DELETE_RANGE": 2,
        "TXN": 3,
        "COMPACT": 4,
        "LEASE_GRANT": 5,
        "LEASE_REVOKE": 6,
        "LEASE_CHECKPOINT": 7,
        "ALARM": 8,
        "CLUSTER_VERSION": 9,
        "MEMBER_ATTRIBUTES": 10,
        "MEMBER_UPDATE": 11,
        "DOWNGRADE": 12,
    }


# -- members ---------------------------------------------------------------------------------------


def test_ids_are_those_that_etcd_computes() -> None:
    member = member_id(["http://localhost:2380"], "etcd-cluster")
    assert member == 10276657743932975437 == 0x8E9E05C52164694D
    assert cluster_id([member]) == 14841639068965178418 == 0xCDF818194E3A8C32


def test_the_order_of_urls_and_members_does_not_count() -> None:
    assert member_id(["http://b:1", "http://a:1"], "t") == member_id(["http://a:1", "http://b:1"], "t")
    assert cluster_id([1, 2**63]) == cluster_id([2**63, 1])


def test_the_time_of_addition_makes_another_id() -> None:
    urls = ["http://a:1"]
    assert len({member_id(urls, ""), member_id(urls, "", 1), member_id(urls, "", 2)}) == 3


def test_members_are_listed_by_id_and_keep_what_they_told() -> None:
    members = Membership()
    for number in (9, 3, 5):
        members.add(Member(number, (f"http://h:{number}",)))
    members.set_attributes(3, "three", ["http://c:3"])
    members.add(Member(3, ("http://other",)))  # known already
    assert [member.id for member in members.all()] == [3, 5, 9]
    assert members.get(3) == Member(3, ("http://h:3",), "three", ("http://c:3",))
    members.check()


def test_a_removed_member_never_comes_back() -> None:
    members = Membership()
    members.load([Member(1, ())], removed=[2])
    members.add(Member(2, ()))
    assert [member.id for member in members.all()] == [1]
    assert (members.is_removed(2), members.is_removed(1), members.removed()) == (True, False, [2])
    members.check()


# -- alarms -------------------------------------------------------------------------------------------


def test_an_alarm_stands_until_every_member_has_disarmed_it() -> None:
    alarms = Alarms()
    assert alarms.activate(1, NOSPACE)
    assert alarms.activate(2, NOSPACE)
    assert alarms.nospace
    assert alarms.deactivate(1, NOSPACE)
    assert not alarms.deactivate(1, NOSPACE)
    assert alarms.nospace
    assert alarms.deactivate(2, NOSPACE)
    assert not alarms.nospace


def test_alarms_are_listed_by_type_or_all_together() -> None:
    alarms = Alarms()
    alarms.activate(2, CORRUPT)
    alarms.activate(2, NOSPACE)
    alarms.activate(1, CORRUPT)
    assert alarms.active() == [(1, CORRUPT), (2, NOSPACE), (2, CORRUPT)]
    assert alarms.active(NOSPACE) == [(2, NOSPACE)]
    assert not alarms.activate(5, rpc_pb2.NONE)
    alarms.load([(4, CORRUPT)])
    assert (alarms.active(), alarms.nospace, alarms.corrupt) == ([(4, CORRUPT)], False, True)


def test_a_type_without_a_name_is_shown_as_its_number() -> None:
    assert [alarm_name(number) for number in (0, 1, 2, 77)] == ["NONE", "NOSPACE", "CORRUPT", "77"]
