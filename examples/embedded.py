"""A server inside your program, in memory, on a free port; any etcd client can use it.

Run as ``python examples/embedded.py``.
"""

from __future__ import annotations

import trio

import rusd
from etcdpb import rpc_pb2
from rusd.logs import make_logger
from rusd.net import connect
from rusd.testing import local_config, make_environment


async def main() -> None:
    environment = make_environment()
    log = make_logger(environment.log_sink, environment.clock)
    async with rusd.serve(local_config(), environment) as server:
        print("serving", server.client_urls[0])
        host, _, port = server.client_urls[0].removeprefix("http://").rpartition(":")
        async with connect(environment, host, int(port), log) as client:
            put = rpc_pb2.PutRequest(key=b"greeting", value=b"hello")
            await client.unary("/etcdserverpb.KV/Put", put.SerializeToString())
            get = rpc_pb2.RangeRequest(key=b"greeting")
            answer = await client.unary("/etcdserverpb.KV/Range", get.SerializeToString())
            print(rpc_pb2.RangeResponse.FromString(answer).kvs[0].value.decode())


if __name__ == "__main__":
    trio.run(main)
