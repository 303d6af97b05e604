# Generated from rpc.proto by generate.py; do not edit.
# ruff: noqa
# fmt: off
# mypy: ignore-errors
import purerpc
import etcdpb.rpc_pb2 as etcdpb_dot_rpc__pb2
import etcdpb.auth_pb2 as etcdpb_dot_auth__pb2
import etcdpb.kv_pb2 as etcdpb_dot_kv__pb2


class KVServicer(purerpc.Servicer):
    async def Range(self, input_message):
        raise NotImplementedError()

    async def RangeStream(self, input_message):
        raise NotImplementedError()

    async def Put(self, input_message):
        raise NotImplementedError()

    async def DeleteRange(self, input_message):
        raise NotImplementedError()

    async def Txn(self, input_message):
        raise NotImplementedError()

    async def Compact(self, input_message):
        raise NotImplementedError()

    @property
    def service(self) -> purerpc.Service:
        service_obj = purerpc.Service(
            "etcdserverpb.KV"
        )
        service_obj.add_method(
            "Range",
            self.Range,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.RangeRequest,
                etcdpb_dot_rpc__pb2.RangeResponse,
            )
        )
        service_obj.add_method(
            "RangeStream",
            self.RangeStream,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_STREAM,
                etcdpb_dot_rpc__pb2.RangeRequest,
                etcdpb_dot_rpc__pb2.RangeStreamResponse,
            )
        )
        service_obj.add_method(
            "Put",
            self.Put,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.PutRequest,
                etcdpb_dot_rpc__pb2.PutResponse,
            )
        )
        service_obj.add_method(
            "DeleteRange",
            self.DeleteRange,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.DeleteRangeRequest,
                etcdpb_dot_rpc__pb2.DeleteRangeResponse,
            )
        )
        service_obj.add_method(
            "Txn",
            self.Txn,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.TxnRequest,
                etcdpb_dot_rpc__pb2.TxnResponse,
            )
        )
        service_obj.add_method(
            "Compact",
            self.Compact,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.CompactionRequest,
                etcdpb_dot_rpc__pb2.CompactionResponse,
            )
        )
        return service_obj


class KVStub:
    def __init__(self, channel):
        self._client = purerpc.Client(
            "etcdserverpb.KV",
            channel
        )
        self.Range = self._client.get_method_stub(
            "Range",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.RangeRequest,
                etcdpb_dot_rpc__pb2.RangeResponse,
            )
        )
        self.RangeStream = self._client.get_method_stub(
            "RangeStream",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_STREAM,
                etcdpb_dot_rpc__pb2.RangeRequest,
                etcdpb_dot_rpc__pb2.RangeStreamResponse,
            )
        )
        self.Put = self._client.get_method_stub(
            "Put",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.PutRequest,
                etcdpb_dot_rpc__pb2.PutResponse,
            )
        )
        self.DeleteRange = self._client.get_method_stub(
            "DeleteRange",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.DeleteRangeRequest,
                etcdpb_dot_rpc__pb2.DeleteRangeResponse,
            )
        )
        self.Txn = self._client.get_method_stub(
            "Txn",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.TxnRequest,
                etcdpb_dot_rpc__pb2.TxnResponse,
            )
        )
        self.Compact = self._client.get_method_stub(
            "Compact",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.CompactionRequest,
                etcdpb_dot_rpc__pb2.CompactionResponse,
            )
        )


class WatchServicer(purerpc.Servicer):
    async def Watch(self, input_messages):
        raise NotImplementedError()

    @property
    def service(self) -> purerpc.Service:
        service_obj = purerpc.Service(
            "etcdserverpb.Watch"
        )
        service_obj.add_method(
            "Watch",
            self.Watch,
            purerpc.RPCSignature(
                purerpc.Cardinality.STREAM_STREAM,
                etcdpb_dot_rpc__pb2.WatchRequest,
                etcdpb_dot_rpc__pb2.WatchResponse,
            )
        )
        return service_obj


class WatchStub:
    def __init__(self, channel):
        self._client = purerpc.Client(
            "etcdserverpb.Watch",
            channel
        )
        self.Watch = self._client.get_method_stub(
            "Watch",
            purerpc.RPCSignature(
                purerpc.Cardinality.STREAM_STREAM,
                etcdpb_dot_rpc__pb2.WatchRequest,
                etcdpb_dot_rpc__pb2.WatchResponse,
            )
        )


class LeaseServicer(purerpc.Servicer):
    async def LeaseGrant(self, input_message):
        raise NotImplementedError()

    async def LeaseRevoke(self, input_message):
        raise NotImplementedError()

    async def LeaseKeepAlive(self, input_messages):
        raise NotImplementedError()

    async def LeaseTimeToLive(self, input_message):
        raise NotImplementedError()

    async def LeaseLeases(self, input_message):
        raise NotImplementedError()

    @property
    def service(self) -> purerpc.Service:
        service_obj = purerpc.Service(
            "etcdserverpb.Lease"
        )
        service_obj.add_method(
            "LeaseGrant",
            self.LeaseGrant,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.LeaseGrantRequest,
                etcdpb_dot_rpc__pb2.LeaseGrantResponse,
            )
        )
        service_obj.add_method(
            "LeaseRevoke",
            self.LeaseRevoke,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.LeaseRevokeRequest,
                etcdpb_dot_rpc__pb2.LeaseRevokeResponse,
            )
        )
        service_obj.add_method(
            "LeaseKeepAlive",
            self.LeaseKeepAlive,
            purerpc.RPCSignature(
                purerpc.Cardinality.STREAM_STREAM,
                etcdpb_dot_rpc__pb2.LeaseKeepAliveRequest,
                etcdpb_dot_rpc__pb2.LeaseKeepAliveResponse,
            )
        )
        service_obj.add_method(
            "LeaseTimeToLive",
            self.LeaseTimeToLive,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.LeaseTimeToLiveRequest,
                etcdpb_dot_rpc__pb2.LeaseTimeToLiveResponse,
            )
        )
        service_obj.add_method(
            "LeaseLeases",
            self.LeaseLeases,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.LeaseLeasesRequest,
                etcdpb_dot_rpc__pb2.LeaseLeasesResponse,
            )
        )
        return service_obj


class LeaseStub:
    def __init__(self, channel):
        self._client = purerpc.Client(
            "etcdserverpb.Lease",
            channel
        )
        self.LeaseGrant = self._client.get_method_stub(
            "LeaseGrant",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.LeaseGrantRequest,
                etcdpb_dot_rpc__pb2.LeaseGrantResponse,
            )
        )
        self.LeaseRevoke = self._client.get_method_stub(
            "LeaseRevoke",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.LeaseRevokeRequest,
                etcdpb_dot_rpc__pb2.LeaseRevokeResponse,
            )
        )
        self.LeaseKeepAlive = self._client.get_method_stub(
            "LeaseKeepAlive",
            purerpc.RPCSignature(
                purerpc.Cardinality.STREAM_STREAM,
                etcdpb_dot_rpc__pb2.LeaseKeepAliveRequest,
                etcdpb_dot_rpc__pb2.LeaseKeepAliveResponse,
            )
        )
        self.LeaseTimeToLive = self._client.get_method_stub(
            "LeaseTimeToLive",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.LeaseTimeToLiveRequest,
                etcdpb_dot_rpc__pb2.LeaseTimeToLiveResponse,
            )
        )
        self.LeaseLeases = self._client.get_method_stub(
            "LeaseLeases",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.LeaseLeasesRequest,
                etcdpb_dot_rpc__pb2.LeaseLeasesResponse,
            )
        )


class ClusterServicer(purerpc.Servicer):
    async def MemberAdd(self, input_message):
        raise NotImplementedError()

    async def MemberRemove(self, input_message):
        raise NotImplementedError()

    async def MemberUpdate(self, input_message):
        raise NotImplementedError()

    async def MemberList(self, input_message):
        raise NotImplementedError()

    async def MemberPromote(self, input_message):
        raise NotImplementedError()

    @property
    def service(self) -> purerpc.Service:
        service_obj = purerpc.Service(
            "etcdserverpb.Cluster"
        )
        service_obj.add_method(
            "MemberAdd",
            self.MemberAdd,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.MemberAddRequest,
                etcdpb_dot_rpc__pb2.MemberAddResponse,
            )
        )
        service_obj.add_method(
            "MemberRemove",
            self.MemberRemove,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.MemberRemoveRequest,
                etcdpb_dot_rpc__pb2.MemberRemoveResponse,
            )
        )
        service_obj.add_method(
            "MemberUpdate",
            self.MemberUpdate,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.MemberUpdateRequest,
                etcdpb_dot_rpc__pb2.MemberUpdateResponse,
            )
        )
        service_obj.add_method(
            "MemberList",
            self.MemberList,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.MemberListRequest,
                etcdpb_dot_rpc__pb2.MemberListResponse,
            )
        )
        service_obj.add_method(
            "MemberPromote",
            self.MemberPromote,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.MemberPromoteRequest,
                etcdpb_dot_rpc__pb2.MemberPromoteResponse,
            )
        )
        return service_obj


class ClusterStub:
    def __init__(self, channel):
        self._client = purerpc.Client(
            "etcdserverpb.Cluster",
            channel
        )
        self.MemberAdd = self._client.get_method_stub(
            "MemberAdd",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.MemberAddRequest,
                etcdpb_dot_rpc__pb2.MemberAddResponse,
            )
        )
        self.MemberRemove = self._client.get_method_stub(
            "MemberRemove",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.MemberRemoveRequest,
                etcdpb_dot_rpc__pb2.MemberRemoveResponse,
            )
        )
        self.MemberUpdate = self._client.get_method_stub(
            "MemberUpdate",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.MemberUpdateRequest,
                etcdpb_dot_rpc__pb2.MemberUpdateResponse,
            )
        )
        self.MemberList = self._client.get_method_stub(
            "MemberList",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.MemberListRequest,
                etcdpb_dot_rpc__pb2.MemberListResponse,
            )
        )
        self.MemberPromote = self._client.get_method_stub(
            "MemberPromote",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.MemberPromoteRequest,
                etcdpb_dot_rpc__pb2.MemberPromoteResponse,
            )
        )


class MaintenanceServicer(purerpc.Servicer):
    async def Alarm(self, input_message):
        raise NotImplementedError()

    async def Status(self, input_message):
        raise NotImplementedError()

    async def Defragment(self, input_message):
        raise NotImplementedError()

    async def Hash(self, input_message):
        raise NotImplementedError()

    async def HashKV(self, input_message):
        raise NotImplementedError()

    async def Snapshot(self, input_message):
        raise NotImplementedError()

    async def MoveLeader(self, input_message):
        raise NotImplementedError()

    async def Downgrade(self, input_message):
        raise NotImplementedError()

    @property
    def service(self) -> purerpc.Service:
        service_obj = purerpc.Service(
            "etcdserverpb.Maintenance"
        )
        service_obj.add_method(
            "Alarm",
            self.Alarm,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AlarmRequest,
                etcdpb_dot_rpc__pb2.AlarmResponse,
            )
        )
        service_obj.add_method(
            "Status",
            self.Status,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.StatusRequest,
                etcdpb_dot_rpc__pb2.StatusResponse,
            )
        )
        service_obj.add_method(
            "Defragment",
            self.Defragment,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.DefragmentRequest,
                etcdpb_dot_rpc__pb2.DefragmentResponse,
            )
        )
        service_obj.add_method(
            "Hash",
            self.Hash,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.HashRequest,
                etcdpb_dot_rpc__pb2.HashResponse,
            )
        )
        service_obj.add_method(
            "HashKV",
            self.HashKV,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.HashKVRequest,
                etcdpb_dot_rpc__pb2.HashKVResponse,
            )
        )
        service_obj.add_method(
            "Snapshot",
            self.Snapshot,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_STREAM,
                etcdpb_dot_rpc__pb2.SnapshotRequest,
                etcdpb_dot_rpc__pb2.SnapshotResponse,
            )
        )
        service_obj.add_method(
            "MoveLeader",
            self.MoveLeader,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.MoveLeaderRequest,
                etcdpb_dot_rpc__pb2.MoveLeaderResponse,
            )
        )
        service_obj.add_method(
            "Downgrade",
            self.Downgrade,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.DowngradeRequest,
                etcdpb_dot_rpc__pb2.DowngradeResponse,
            )
        )
        return service_obj


class MaintenanceStub:
    def __init__(self, channel):
        self._client = purerpc.Client(
            "etcdserverpb.Maintenance",
            channel
        )
        self.Alarm = self._client.get_method_stub(
            "Alarm",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AlarmRequest,
                etcdpb_dot_rpc__pb2.AlarmResponse,
            )
        )
        self.Status = self._client.get_method_stub(
            "Status",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.StatusRequest,
                etcdpb_dot_rpc__pb2.StatusResponse,
            )
        )
        self.Defragment = self._client.get_method_stub(
            "Defragment",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.DefragmentRequest,
                etcdpb_dot_rpc__pb2.DefragmentResponse,
            )
        )
        self.Hash = self._client.get_method_stub(
            "Hash",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.HashRequest,
                etcdpb_dot_rpc__pb2.HashResponse,
            )
        )
        self.HashKV = self._client.get_method_stub(
            "HashKV",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.HashKVRequest,
                etcdpb_dot_rpc__pb2.HashKVResponse,
            )
        )
        self.Snapshot = self._client.get_method_stub(
            "Snapshot",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_STREAM,
                etcdpb_dot_rpc__pb2.SnapshotRequest,
                etcdpb_dot_rpc__pb2.SnapshotResponse,
            )
        )
        self.MoveLeader = self._client.get_method_stub(
            "MoveLeader",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.MoveLeaderRequest,
                etcdpb_dot_rpc__pb2.MoveLeaderResponse,
            )
        )
        self.Downgrade = self._client.get_method_stub(
            "Downgrade",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.DowngradeRequest,
                etcdpb_dot_rpc__pb2.DowngradeResponse,
            )
        )


class AuthServicer(purerpc.Servicer):
    async def AuthEnable(self, input_message):
        raise NotImplementedError()

    async def AuthDisable(self, input_message):
        raise NotImplementedError()

    async def AuthStatus(self, input_message):
        raise NotImplementedError()

    async def Authenticate(self, input_message):
        raise NotImplementedError()

    async def UserAdd(self, input_message):
        raise NotImplementedError()

    async def UserGet(self, input_message):
        raise NotImplementedError()

    async def UserList(self, input_message):
        raise NotImplementedError()

    async def UserDelete(self, input_message):
        raise NotImplementedError()

    async def UserChangePassword(self, input_message):
        raise NotImplementedError()

    async def UserGrantRole(self, input_message):
        raise NotImplementedError()

    async def UserRevokeRole(self, input_message):
        raise NotImplementedError()

    async def RoleAdd(self, input_message):
        raise NotImplementedError()

    async def RoleGet(self, input_message):
        raise NotImplementedError()

    async def RoleList(self, input_message):
        raise NotImplementedError()

    async def RoleDelete(self, input_message):
        raise NotImplementedError()

    async def RoleGrantPermission(self, input_message):
        raise NotImplementedError()

    async def RoleRevokePermission(self, input_message):
        raise NotImplementedError()

    @property
    def service(self) -> purerpc.Service:
        service_obj = purerpc.Service(
            "etcdserverpb.Auth"
        )
        service_obj.add_method(
            "AuthEnable",
            self.AuthEnable,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthEnableRequest,
                etcdpb_dot_rpc__pb2.AuthEnableResponse,
            )
        )
        service_obj.add_method(
            "AuthDisable",
            self.AuthDisable,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthDisableRequest,
                etcdpb_dot_rpc__pb2.AuthDisableResponse,
            )
        )
        service_obj.add_method(
            "AuthStatus",
            self.AuthStatus,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthStatusRequest,
                etcdpb_dot_rpc__pb2.AuthStatusResponse,
            )
        )
        service_obj.add_method(
            "Authenticate",
            self.Authenticate,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthenticateRequest,
                etcdpb_dot_rpc__pb2.AuthenticateResponse,
            )
        )
        service_obj.add_method(
            "UserAdd",
            self.UserAdd,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthUserAddRequest,
                etcdpb_dot_rpc__pb2.AuthUserAddResponse,
            )
        )
        service_obj.add_method(
            "UserGet",
            self.UserGet,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthUserGetRequest,
                etcdpb_dot_rpc__pb2.AuthUserGetResponse,
            )
        )
        service_obj.add_method(
            "UserList",
            self.UserList,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthUserListRequest,
                etcdpb_dot_rpc__pb2.AuthUserListResponse,
            )
        )
        service_obj.add_method(
            "UserDelete",
            self.UserDelete,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthUserDeleteRequest,
                etcdpb_dot_rpc__pb2.AuthUserDeleteResponse,
            )
        )
        service_obj.add_method(
            "UserChangePassword",
            self.UserChangePassword,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthUserChangePasswordRequest,
                etcdpb_dot_rpc__pb2.AuthUserChangePasswordResponse,
            )
        )
        service_obj.add_method(
            "UserGrantRole",
            self.UserGrantRole,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthUserGrantRoleRequest,
                etcdpb_dot_rpc__pb2.AuthUserGrantRoleResponse,
            )
        )
        service_obj.add_method(
            "UserRevokeRole",
            self.UserRevokeRole,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthUserRevokeRoleRequest,
                etcdpb_dot_rpc__pb2.AuthUserRevokeRoleResponse,
            )
        )
        service_obj.add_method(
            "RoleAdd",
            self.RoleAdd,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthRoleAddRequest,
                etcdpb_dot_rpc__pb2.AuthRoleAddResponse,
            )
        )
        service_obj.add_method(
            "RoleGet",
            self.RoleGet,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthRoleGetRequest,
                etcdpb_dot_rpc__pb2.AuthRoleGetResponse,
            )
        )
        service_obj.add_method(
            "RoleList",
            self.RoleList,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthRoleListRequest,
                etcdpb_dot_rpc__pb2.AuthRoleListResponse,
            )
        )
        service_obj.add_method(
            "RoleDelete",
            self.RoleDelete,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthRoleDeleteRequest,
                etcdpb_dot_rpc__pb2.AuthRoleDeleteResponse,
            )
        )
        service_obj.add_method(
            "RoleGrantPermission",
            self.RoleGrantPermission,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthRoleGrantPermissionRequest,
                etcdpb_dot_rpc__pb2.AuthRoleGrantPermissionResponse,
            )
        )
        service_obj.add_method(
            "RoleRevokePermission",
            self.RoleRevokePermission,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthRoleRevokePermissionRequest,
                etcdpb_dot_rpc__pb2.AuthRoleRevokePermissionResponse,
            )
        )
        return service_obj


class AuthStub:
    def __init__(self, channel):
        self._client = purerpc.Client(
            "etcdserverpb.Auth",
            channel
        )
        self.AuthEnable = self._client.get_method_stub(
            "AuthEnable",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthEnableRequest,
                etcdpb_dot_rpc__pb2.AuthEnableResponse,
            )
        )
        self.AuthDisable = self._client.get_method_stub(
            "AuthDisable",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthDisableRequest,
                etcdpb_dot_rpc__pb2.AuthDisableResponse,
            )
        )
        self.AuthStatus = self._client.get_method_stub(
            "AuthStatus",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthStatusRequest,
                etcdpb_dot_rpc__pb2.AuthStatusResponse,
            )
        )
        self.Authenticate = self._client.get_method_stub(
            "Authenticate",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthenticateRequest,
                etcdpb_dot_rpc__pb2.AuthenticateResponse,
            )
        )
        self.UserAdd = self._client.get_method_stub(
            "UserAdd",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthUserAddRequest,
                etcdpb_dot_rpc__pb2.AuthUserAddResponse,
            )
        )
        self.UserGet = self._client.get_method_stub(
            "UserGet",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthUserGetRequest,
                etcdpb_dot_rpc__pb2.AuthUserGetResponse,
            )
        )
        self.UserList = self._client.get_method_stub(
            "UserList",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthUserListRequest,
                etcdpb_dot_rpc__pb2.AuthUserListResponse,
            )
        )
        self.UserDelete = self._client.get_method_stub(
            "UserDelete",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthUserDeleteRequest,
                etcdpb_dot_rpc__pb2.AuthUserDeleteResponse,
            )
        )
        self.UserChangePassword = self._client.get_method_stub(
            "UserChangePassword",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthUserChangePasswordRequest,
                etcdpb_dot_rpc__pb2.AuthUserChangePasswordResponse,
            )
        )
        self.UserGrantRole = self._client.get_method_stub(
            "UserGrantRole",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthUserGrantRoleRequest,
                etcdpb_dot_rpc__pb2.AuthUserGrantRoleResponse,
            )
        )
        self.UserRevokeRole = self._client.get_method_stub(
            "UserRevokeRole",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthUserRevokeRoleRequest,
                etcdpb_dot_rpc__pb2.AuthUserRevokeRoleResponse,
            )
        )
        self.RoleAdd = self._client.get_method_stub(
            "RoleAdd",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthRoleAddRequest,
                etcdpb_dot_rpc__pb2.AuthRoleAddResponse,
            )
        )
        self.RoleGet = self._client.get_method_stub(
            "RoleGet",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthRoleGetRequest,
                etcdpb_dot_rpc__pb2.AuthRoleGetResponse,
            )
        )
        self.RoleList = self._client.get_method_stub(
            "RoleList",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthRoleListRequest,
                etcdpb_dot_rpc__pb2.AuthRoleListResponse,
            )
        )
        self.RoleDelete = self._client.get_method_stub(
            "RoleDelete",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthRoleDeleteRequest,
                etcdpb_dot_rpc__pb2.AuthRoleDeleteResponse,
            )
        )
        self.RoleGrantPermission = self._client.get_method_stub(
            "RoleGrantPermission",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthRoleGrantPermissionRequest,
                etcdpb_dot_rpc__pb2.AuthRoleGrantPermissionResponse,
            )
        )
        self.RoleRevokePermission = self._client.get_method_stub(
            "RoleRevokePermission",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_rpc__pb2.AuthRoleRevokePermissionRequest,
                etcdpb_dot_rpc__pb2.AuthRoleRevokePermissionResponse,
            )
        )
