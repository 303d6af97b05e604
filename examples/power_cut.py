"""What survives a power cut: everything that was answered.

The server runs on a disk in memory that forgets what was not synced.  Run as
``python examples/power_cut.py``.
"""

from __future__ import annotations

import trio

import rusd
from etcdpb import rpc_pb2
from rusd.logs import make_logger
from rusd.net import connect
from rusd.testing import MemoryDisk, local_config, make_environment


async def main() -> None:
    disk = MemoryDisk()
    answered = 0
    for life in range(3):
        environment = make_environment(disk=disk, seed=life)
        log = make_logger(environment.log_sink, environment.clock)
        async with rusd.serve(local_config(data_dir="/data"), environment) as server:
            host, _, port = server.client_urls[0].removeprefix("http://").rpartition(":")
            async with connect(environment, host, int(port), log) as client:
                everything = rpc_pb2.RangeRequest(key=b"\0", range_end=b"\0", count_only=True)
                answer = await client.unary("/etcdserverpb.KV/Range", everything.SerializeToString())
                count = rpc_pb2.RangeResponse.FromString(answer).count
                print(f"life {life}: {count} keys found, {answered} were answered")
                assert count >= answered
                for number in range(100):
                    put = rpc_pb2.PutRequest(key=b"%d-%d" % (life, number), value=b"v")
                    await client.unary("/etcdserverpb.KV/Put", put.SerializeToString())
                    answered += 1
                disk = disk.crash()  # keeps what was synced, and nothing else


if __name__ == "__main__":
    trio.run(main)
