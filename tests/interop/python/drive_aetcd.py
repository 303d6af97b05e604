"""Drives a server with PyPI's aetcd; run in that package's own environment: ``drive_aetcd.py host port``."""

import asyncio
import sys

import aetcd


def check(name):
    """Say that a check has passed."""
    print("ok", name, flush=True)


async def take(watch, count):
    """The next events of a watch."""
    events = []
    async for event in watch:
        events.append(event)
        if len(events) == count:
            break
    return events


async def main(host, port):
    """Every call that users of the package make."""
    async with aetcd.Client(host=host, port=int(port), timeout=20) as client:
        await client.put(b"/k/a", b"1")
        await client.put(b"/k/b", b"\x00\xff binary")
        found = await client.get(b"/k/b")
        assert (found.value, found.version) == (b"\x00\xff binary", 1)
        assert await client.get(b"/none") is None
        assert [kv.key for kv in await client.get_prefix(b"/k/")] == [b"/k/a", b"/k/b"]
        assert [kv.key for kv in await client.get_range(b"/k/a", b"/k/b")] == [b"/k/a"]
        check("put and get")

        assert (await client.put(b"/k/a", b"2", prev_kv=True)).prev_kv.value == b"1"
        assert await client.replace(b"/k/a", b"2", b"3")
        assert not await client.replace(b"/k/a", b"2", b"4")
        assert (await client.delete(b"/k/b", prev_kv=True)).prev_kv.value == b"\x00\xff binary"
        assert (await client.delete_prefix(b"/none/")).deleted == 0
        check("replace and delete")

        tests = client.transactions
        succeeded, answers = await client.transaction(
            compare=[tests.value(b"/k/a") == b"3", tests.version(b"/none") == 0],
            success=[tests.put(b"/t/1", b"x"), tests.get(b"/k/a")],
            failure=[tests.put(b"/t/2", b"x")],
        )
        assert succeeded
        assert answers[1][0][0] == b"3"
        check("txn")

        watch = await client.watch_prefix(b"/w/")
        first = await client.put(b"/w/1", b"a")
        await client.put(b"/w/1", b"b")
        await client.delete(b"/w/1")
        events = await asyncio.wait_for(take(watch, 3), 20)
        assert [str(event.kind) for event in events] == ["PUT", "PUT", "DELETE"]
        await watch.cancel()
        history = await client.watch(b"/w/1", start_revision=first.header.revision, prev_kv=True)
        events = await asyncio.wait_for(take(history, 3), 20)
        assert (events[0].kv.value, events[1].prev_kv.value) == (b"a", b"a")
        await history.cancel()
        check("watch")

        lease = await client.lease(600)
        await client.put(b"/l/1", b"x", lease=lease)
        assert await lease.granted_ttl() == 600
        assert 0 < await lease.remaining_ttl() <= 600
        assert list(await lease.keys()) == [b"/l/1"]
        assert (await lease.refresh()).TTL == 600
        await lease.revoke()
        assert await client.get(b"/l/1") is None
        check("lease")

        first, second = client.lock(b"door", ttl=20), client.lock(b"door", ttl=20)
        assert await first.acquire()
        waiter = asyncio.create_task(second.acquire(timeout=30))
        await asyncio.sleep(0)
        assert await first.is_acquired()
        await first.release()
        assert await waiter
        await second.release()
        check("lock")

        revision = (await client.put(b"/k/a", b"last")).header.revision
        await client.compact(revision, physical=True)
        refusal = None
        try:
            await asyncio.wait_for(take(await client.watch(b"/k/a", start_revision=1), 1), 20)
        except aetcd.RevisionCompactedError as error:
            refusal = error.compacted_revision
        assert refusal == revision
        assert (await client.status()).version
        await client.defragment()
        check("compaction and maintenance")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
