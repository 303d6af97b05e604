"""Drives a server with purerpc's own client and the generated stubs: ``drive_purerpc.py host port``."""

import sys

import purerpc
import trio

from etcdpb import rpc_grpc, rpc_pb2


def check(name):
    """Say that a check has passed."""
    print("ok", name, flush=True)


async def main(host, port):
    """A few calls, an error, and a watch over a stream that stays open."""
    with trio.fail_after(60), trio.CancelScope() as scope:
        async with purerpc.insecure_channel(host, int(port)) as channel:
            kv, watch = rpc_grpc.KVStub(channel), rpc_grpc.WatchStub(channel)
            for number in range(3):
                put = rpc_pb2.PutRequest(key=b"k", value=b"%d" % number)
                assert (await kv.Put(put)).header.revision == number + 2
            found = await kv.Range(rpc_pb2.RangeRequest(key=b"k"))
            assert (found.count, found.kvs[0].value, found.kvs[0].version) == (1, b"2", 3)
            check("put and get")

            try:
                await kv.Put(rpc_pb2.PutRequest())
            except purerpc.InvalidArgumentError as error:
                message = str(error)
            assert "etcdserver: key is not provided" in message
            check("errors")

            big = rpc_pb2.PutRequest(key=b"k", value=bytes(300_000))
            revisions = []

            async def requests():
                create = rpc_pb2.WatchCreateRequest(key=b"k", start_revision=2)
                yield rpc_pb2.WatchRequest(create_request=create)
                await trio.sleep_forever()

            async for response in watch.Watch(requests()):
                revisions += [event.kv.mod_revision for event in response.events]
                if revisions == [2, 3, 4]:
                    await kv.Put(big)
                if len(revisions) == 4:
                    assert response.events[0].kv.value == big.value
                    check("watch")
                    # The stream has no end of its own: everything is left by being cancelled.
                    scope.cancel()


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
