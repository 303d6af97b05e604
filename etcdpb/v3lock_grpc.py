# Generated from v3lock.proto by generate.py; do not edit.
# ruff: noqa
# fmt: off
# mypy: ignore-errors
import purerpc
import etcdpb.v3lock_pb2 as etcdpb_dot_v3lock__pb2
import etcdpb.rpc_pb2 as etcdpb_dot_rpc__pb2


class LockServicer(purerpc.Servicer):
    async def Lock(self, input_message):
        raise NotImplementedError()

    async def Unlock(self, input_message):
        raise NotImplementedError()

    @property
    def service(self) -> purerpc.Service:
        service_obj = purerpc.Service(
            "v3lockpb.Lock"
        )
        service_obj.add_method(
            "Lock",
            self.Lock,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_v3lock__pb2.LockRequest,
                etcdpb_dot_v3lock__pb2.LockResponse,
            )
        )
        service_obj.add_method(
            "Unlock",
            self.Unlock,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_v3lock__pb2.UnlockRequest,
                etcdpb_dot_v3lock__pb2.UnlockResponse,
            )
        )
        return service_obj


class LockStub:
    def __init__(self, channel):
        self._client = purerpc.Client(
            "v3lockpb.Lock",
            channel
        )
        self.Lock = self._client.get_method_stub(
            "Lock",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_v3lock__pb2.LockRequest,
                etcdpb_dot_v3lock__pb2.LockResponse,
            )
        )
        self.Unlock = self._client.get_method_stub(
            "Unlock",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                etcdpb_dot_v3lock__pb2.UnlockRequest,
                etcdpb_dot_v3lock__pb2.UnlockResponse,
            )
        )
