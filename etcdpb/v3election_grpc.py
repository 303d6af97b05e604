# Generated from v3election.proto by generate.py; do not edit.
# ruff: noqa
# fmt: off
# mypy: ignore-errors
import purerpc
import etcdpb.v3election_pb2 as etcdpb_dot_v3election__pb2
import etcdpb.kv_pb2 as etcdpb_dot_kv__pb2
import etcdpb.rpc_pb2 as etcdpb_dot_rpc__pb2


class ElectionServicer(purerpc.Servicer):
    async def Campaign(self, input_message):
        raise NotImplementedError()

    async def Proclaim(self, input_message):
        raise NotImplementedError()

    async def Leader(self, input_message):
        raise NotImplementedError()

    async def Observe(self, input_message):
        raise NotImplementedError()

    async def Resign(self, input_message):
        raise NotImplementedError()

    @property
    def service(self) -> purerpc.Service:
        service_obj = purerpc.Service(
            "v3electionpb.Election"
        )
        service_obj.add_method(
            "Campaign",
            self.Campaign,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_v3election__pb2.CampaignRequest,
                etcdpb_dot_v3election__pb2.CampaignResponse,
            )
        )
        service_obj.add_method(
            "Proclaim",
            self.Proclaim,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_v3election__pb2.ProclaimRequest,
                etcdpb_dot_v3election__pb2.ProclaimResponse,
            )
        )
        service_obj.add_method(
            "Leader",
            self.Leader,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_v3election__pb2.LeaderRequest,
                etcdpb_dot_v3election__pb2.LeaderResponse,
            )
        )
        service_obj.add_method(
            "Observe",
            self.Observe,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_STREAM,
                etcdpb_dot_v3election__pb2.LeaderRequest,
                etcdpb_dot_v3election__pb2.LeaderResponse,
            )
        )
        service_obj.add_method(
            "Resign",
            self.Resign,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_v3election__pb2.ResignRequest,
                etcdpb_dot_v3election__pb2.ResignResponse,
            )
        )
        return service_obj


class ElectionStub:
    def __init__(self, channel):
        self._client = purerpc.Client(
            "v3electionpb.Election",
            channel
        )
        self.Campaign = self._client.get_method_stub(
            "Campaign",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_v3election__pb2.CampaignRequest,
                etcdpb_dot_v3election__pb2.CampaignResponse,
            )
        )
        self.Proclaim = self._client.get_method_stub(
            "Proclaim",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_v3election__pb2.ProclaimRequest,
                etcdpb_dot_v3election__pb2.ProclaimResponse,
            )
        )
        self.Leader = self._client.get_method_stub(
            "Leader",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_v3election__pb2.LeaderRequest,
                etcdpb_dot_v3election__pb2.LeaderResponse,
            )
        )
        self.Observe = self._client.get_method_stub(
            "Observe",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_STREAM,
                etcdpb_dot_v3election__pb2.LeaderRequest,
                etcdpb_dot_v3election__pb2.LeaderResponse,
            )
        )
        self.Resign = self._client.get_method_stub(
            "Resign",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_v3election__pb2.ResignRequest,
                etcdpb_dot_v3election__pb2.ResignResponse,
            )
        )
