# Generated from rusd.proto by generate.py; do not edit.
# ruff: noqa
# fmt: off
# mypy: disable-error-code="type-arg"
from etcdpb import rpc_pb2 as _rpc_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Member(_message.Message):
    __slots__ = ("id", "name", "peer_urls", "client_urls", "is_learner")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PEER_URLS_FIELD_NUMBER: _ClassVar[int]
    CLIENT_URLS_FIELD_NUMBER: _ClassVar[int]
    IS_LEARNER_FIELD_NUMBER: _ClassVar[int]
    id: int
    name: str
    peer_urls: _containers.RepeatedScalarFieldContainer[str]
    client_urls: _containers.RepeatedScalarFieldContainer[str]
    is_learner: bool
    def __init__(self, id: _Optional[int] = ..., name: _Optional[str] = ..., peer_urls: _Optional[_Iterable[str]] = ..., client_urls: _Optional[_Iterable[str]] = ..., is_learner: bool = ...) -> None: ...

class Alarm(_message.Message):
    __slots__ = ("member_id", "type")
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    member_id: int
    type: _rpc_pb2.AlarmType
    def __init__(self, member_id: _Optional[int] = ..., type: _Optional[_Union[_rpc_pb2.AlarmType, str]] = ...) -> None: ...

class Lease(_message.Message):
    __slots__ = ("id", "ttl", "remaining_ttl")
    ID_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    REMAINING_TTL_FIELD_NUMBER: _ClassVar[int]
    id: int
    ttl: int
    remaining_ttl: int
    def __init__(self, id: _Optional[int] = ..., ttl: _Optional[int] = ..., remaining_ttl: _Optional[int] = ...) -> None: ...

class Configuration(_message.Message):
    __slots__ = ("voters", "learners")
    VOTERS_FIELD_NUMBER: _ClassVar[int]
    LEARNERS_FIELD_NUMBER: _ClassVar[int]
    voters: _containers.RepeatedScalarFieldContainer[int]
    learners: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, voters: _Optional[_Iterable[int]] = ..., learners: _Optional[_Iterable[int]] = ...) -> None: ...

class ClusterState(_message.Message):
    __slots__ = ("cluster_id", "members", "removed_ids", "cluster_version", "alarms", "downgrade")
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    REMOVED_IDS_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_VERSION_FIELD_NUMBER: _ClassVar[int]
    ALARMS_FIELD_NUMBER: _ClassVar[int]
    DOWNGRADE_FIELD_NUMBER: _ClassVar[int]
    cluster_id: int
    members: _containers.RepeatedCompositeFieldContainer[Member]
    removed_ids: _containers.RepeatedScalarFieldContainer[int]
    cluster_version: str
    alarms: _containers.RepeatedCompositeFieldContainer[Alarm]
    downgrade: _rpc_pb2.DowngradeInfo
    def __init__(self, cluster_id: _Optional[int] = ..., members: _Optional[_Iterable[_Union[Member, _Mapping]]] = ..., removed_ids: _Optional[_Iterable[int]] = ..., cluster_version: _Optional[str] = ..., alarms: _Optional[_Iterable[_Union[Alarm, _Mapping]]] = ..., downgrade: _Optional[_Union[_rpc_pb2.DowngradeInfo, _Mapping]] = ...) -> None: ...

class SnapshotHeader(_message.Message):
    __slots__ = ("index", "term", "configuration", "cluster", "leases", "current_revision", "compact_revision")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    LEASES_FIELD_NUMBER: _ClassVar[int]
    CURRENT_REVISION_FIELD_NUMBER: _ClassVar[int]
    COMPACT_REVISION_FIELD_NUMBER: _ClassVar[int]
    index: int
    term: int
    configuration: Configuration
    cluster: ClusterState
    leases: _containers.RepeatedCompositeFieldContainer[Lease]
    current_revision: int
    compact_revision: int
    def __init__(self, index: _Optional[int] = ..., term: _Optional[int] = ..., configuration: _Optional[_Union[Configuration, _Mapping]] = ..., cluster: _Optional[_Union[ClusterState, _Mapping]] = ..., leases: _Optional[_Iterable[_Union[Lease, _Mapping]]] = ..., current_revision: _Optional[int] = ..., compact_revision: _Optional[int] = ...) -> None: ...

class ConfigurationChange(_message.Message):
    __slots__ = ("type", "member", "request_id")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ADD_MEMBER: _ClassVar[ConfigurationChange.Type]
        ADD_LEARNER: _ClassVar[ConfigurationChange.Type]
        PROMOTE_LEARNER: _ClassVar[ConfigurationChange.Type]
        REMOVE_MEMBER: _ClassVar[ConfigurationChange.Type]
        UPDATE_MEMBER: _ClassVar[ConfigurationChange.Type]
        ADD_CANDIDATE: _ClassVar[ConfigurationChange.Type]
        ADMIT_CANDIDATE: _ClassVar[ConfigurationChange.Type]
    ADD_MEMBER: ConfigurationChange.Type
    ADD_LEARNER: ConfigurationChange.Type
    PROMOTE_LEARNER: ConfigurationChange.Type
    REMOVE_MEMBER: ConfigurationChange.Type
    UPDATE_MEMBER: ConfigurationChange.Type
    ADD_CANDIDATE: ConfigurationChange.Type
    ADMIT_CANDIDATE: ConfigurationChange.Type
    TYPE_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    type: ConfigurationChange.Type
    member: Member
    request_id: RequestId
    def __init__(self, type: _Optional[_Union[ConfigurationChange.Type, str]] = ..., member: _Optional[_Union[Member, _Mapping]] = ..., request_id: _Optional[_Union[RequestId, _Mapping]] = ...) -> None: ...

class RequestId(_message.Message):
    __slots__ = ("member", "boot", "number")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    BOOT_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    member: int
    boot: int
    number: int
    def __init__(self, member: _Optional[int] = ..., boot: _Optional[int] = ..., number: _Optional[int] = ...) -> None: ...

class MemberAttributes(_message.Message):
    __slots__ = ("id", "name", "client_urls")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CLIENT_URLS_FIELD_NUMBER: _ClassVar[int]
    id: int
    name: str
    client_urls: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[int] = ..., name: _Optional[str] = ..., client_urls: _Optional[_Iterable[str]] = ...) -> None: ...

class ClusterVersion(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: str
    def __init__(self, version: _Optional[str] = ...) -> None: ...

class LeaseInternalRequest(_message.Message):
    __slots__ = ("LeaseTimeToLiveRequest",)
    LEASETIMETOLIVEREQUEST_FIELD_NUMBER: _ClassVar[int]
    LeaseTimeToLiveRequest: _rpc_pb2.LeaseTimeToLiveRequest
    def __init__(self, LeaseTimeToLiveRequest: _Optional[_Union[_rpc_pb2.LeaseTimeToLiveRequest, _Mapping]] = ...) -> None: ...

class LeaseInternalResponse(_message.Message):
    __slots__ = ("LeaseTimeToLiveResponse",)
    LEASETIMETOLIVERESPONSE_FIELD_NUMBER: _ClassVar[int]
    LeaseTimeToLiveResponse: _rpc_pb2.LeaseTimeToLiveResponse
    def __init__(self, LeaseTimeToLiveResponse: _Optional[_Union[_rpc_pb2.LeaseTimeToLiveResponse, _Mapping]] = ...) -> None: ...

class Identity(_message.Message):
    __slots__ = ("cluster_id", "member_id")
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    cluster_id: int
    member_id: int
    def __init__(self, cluster_id: _Optional[int] = ..., member_id: _Optional[int] = ...) -> None: ...
