"""Drives a server with PyPI's etcd3; run in that package's own environment: ``drive_etcd3.py host port``."""

import sys
import threading

import etcd3


def check(name):
    """Say that a check has passed."""
    print("ok", name, flush=True)


def main(host, port):
    """Every call that users of the package make."""
    client = etcd3.client(host=host, port=int(port), timeout=20)

    client.put("/k/a", "1")
    client.put("/k/b", b"\x00\xff binary")
    value, meta = client.get("/k/b")
    assert (value, meta.key, meta.version) == (b"\x00\xff binary", b"/k/b", 1)
    assert client.get("/none") == (None, None)
    assert [value for value, _ in client.get_prefix("/k/")] == [b"1", b"\x00\xff binary"]
    descending = client.get_prefix("/k/", sort_order="descend", sort_target="key")
    assert [meta.key for _, meta in descending] == [b"/k/b", b"/k/a"]
    assert [meta.key for _, meta in client.get_range("/k/a", "/k/b")] == [b"/k/a"]
    assert len(list(client.get_all())) == 2
    check("put and get")

    assert client.put("/k/a", "2", prev_kv=True).prev_kv.value == b"1"
    assert client.replace("/k/a", "2", "3")
    assert not client.replace("/k/a", "2", "4")
    assert client.put_if_not_exists("/k/c", "x")
    assert not client.put_if_not_exists("/k/c", "y")
    assert client.delete("/k/c")
    assert not client.delete("/k/c")
    check("replace and delete")

    tests = client.transactions
    succeeded, answers = client.transaction(
        compare=[tests.value("/k/a") == "3", tests.version("/none") == 0],
        success=[tests.put("/t/1", "x"), tests.get("/k/a"), tests.delete("/k/b")],
        failure=[tests.put("/t/2", "x")],
    )
    assert succeeded
    assert answers[1][0][0] == b"3"
    failed, _ = client.transaction(compare=[tests.create("/k/a") == 0], success=[], failure=[])
    assert not failed
    check("txn")

    events, cancel = client.watch_prefix("/w/")
    client.put("/w/1", "a")
    client.put("/w/1", "b")
    client.delete("/w/1")
    seen = [next(events) for _ in range(3)]
    cancel()
    assert [type(event).__name__ for event in seen] == ["PutEvent", "PutEvent", "DeleteEvent"]
    assert seen[1].value == b"b"
    history, cancel = client.watch("/w/1", start_revision=seen[0].mod_revision)
    assert next(history).value == b"a"
    cancel()
    check("watch")

    lease = client.lease(600)
    client.put("/l/1", "x", lease=lease)
    assert (lease.granted_ttl, list(lease.keys)) == (600, [b"/l/1"])
    assert 0 < lease.remaining_ttl <= 600
    assert next(iter(lease.refresh())).TTL == 600
    lease.revoke()
    assert client.get("/l/1") == (None, None)
    check("lease")

    first, second = client.lock("door", ttl=20), client.lock("door", ttl=20)
    assert first.acquire()
    assert first.is_acquired()
    assert not second.acquire(timeout=0)
    waiter = threading.Thread(target=second.acquire, kwargs={"timeout": 30})
    waiter.start()
    first.release()
    waiter.join(30)
    assert second.is_acquired()
    second.release()
    check("lock")

    revision = client.put("/k/a", "last").header.revision
    client.compact(revision, physical=True)
    late, cancel = client.watch("/k/a", start_revision=1)
    refusal = None
    try:
        next(late)
    except etcd3.exceptions.RevisionCompactedError as error:
        refusal = error.compacted_revision
    assert refusal == revision
    assert client.status().version
    assert [member.client_urls for member in client.members]
    client.defragment()
    assert list(client.list_alarms()) == []
    check("compaction and maintenance")
    client.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
