"""A session of etcdctl, command by command, against the reference and against the server under test.

etcdctl is a client that people script against: what it prints has to be the same, errors and exit codes too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.interop.etcdctl import Etcdctl, Result
from tests.support.processes import Server, kind_under_test

pytestmark = pytest.mark.interop

TWO = tuple[Etcdctl, Etcdctl]
JSON, FIELDS, TABLE = "--write-out=json", "--write-out=fields", "--write-out=table"


@pytest.fixture
def both(tmp_path: Path) -> Iterator[TWO]:
    """etcdctl against a fresh reference, and against a fresh server under test."""
    folders = [tmp_path / name for name in ("reference", "actual")]
    for folder in folders:
        folder.mkdir()
    with (
        Server("etcd", folders[0], sync=False) as reference,
        Server(kind_under_test(), folders[1], sync=False) as actual,
    ):
        pair = Etcdctl(reference, folders[0]), Etcdctl(actual, folders[1])
        try:
            yield pair
        finally:
            for one in pair:
                one.stop()


def same(both: TWO, *arguments: str, stdin: str = "") -> Result:
    """Run a command on both; it has to do the same.  Returns the reference's result."""
    reference, actual = (one.run(*arguments, stdin=stdin) for one in both)
    assert actual == reference, f"etcdctl {' '.join(arguments)}"
    return reference


def works(both: TWO, *arguments: str, stdin: str = "") -> Result:
    """As :func:`same`, for what must succeed."""
    result = same(both, *arguments, stdin=stdin)
    assert result.status == 0, f"etcdctl {' '.join(arguments)}: {result}"
    return result


def fails(both: TWO, *arguments: str, stdin: str = "") -> Result:
    """As :func:`same`, for what must fail."""
    result = same(both, *arguments, stdin=stdin)
    assert result.status != 0, f"etcdctl {' '.join(arguments)}: {result}"
    return result


def remembers(both: TWO, name: str, pattern: str, *arguments: str) -> None:
    """Run a command on both and keep a part of each output, say the id of a lease, under ``name``."""
    reference, actual = (one.remember(name, pattern, *arguments) for one in both)
    assert actual == reference


def watches_the_same(both: TWO, watch: Sequence[str], commands: Sequence[Sequence[str]], lines: int) -> None:
    """Watch on both while ``commands`` run; ``lines`` is how many must come out of it."""
    watchers = [one.background(*watch) for one in both]
    for command in commands:
        works(both, *command)
    for watcher in watchers:
        watcher.wait_for_lines(lines)
    printed = [watcher.stop() for watcher in watchers]
    assert printed[1] == printed[0]
    assert len(printed[0]) == lines


def test_put_and_get(both: TWO) -> None:
    for number in range(12):
        works(both, "put", f"k{number:02}", f"value {number}")
    works(both, "put", "k03", "again", "--prev-kv")
    works(both, "put", "k03", "--ignore-value")
    works(both, "put", "from stdin", stdin="a value\nof two lines")
    works(both, "put", "bytes", "\x01\x02")
    fails(both, "put", "missing", "--ignore-value")
    fails(both, "put", "k03", "x", "--lease=1234")
    fails(both, "put", "k03", "x", "--ignore-lease", "--lease=1")
    fails(both, "put", "", "x")
    for output in ("--write-out=simple", JSON, FIELDS, "--write-out=protobuf"):
        works(both, "get", "k03", output)
        works(both, "get", "k", "--prefix", output)
    works(both, "get", "k03", "k06")
    works(both, "get", "k06", "k03")
    works(both, "get", "k06", "--from-key", "--limit=3")
    works(both, "get", "", "--prefix", "--keys-only")
    works(both, "get", "", "--from-key", "--count-only", FIELDS)
    works(both, "get", "missing", JSON)
    works(both, "get", "k03", "--hex")
    works(both, "get", "k03", "--print-value-only", "--consistency=s")
    for target in ("CREATE", "KEY", "MODIFY", "VALUE", "VERSION"):
        for order in ("ASCEND", "DESCEND"):
            # Few enough for etcd to keep the order of equals.
            works(both, "get", "k00", "k06", f"--sort-by={target}", f"--order={order}", "--limit=5")
    works(both, "get", "k03", "--rev=5", JSON)
    fails(both, "get", "k03", "--rev=5000")


def test_del(both: TWO) -> None:
    for key in ("a", "b", "c", "d/1", "d/2", "e"):
        works(both, "put", key, f"value of {key}")
    works(both, "del", "a", "--prev-kv")
    works(both, "del", "a")
    works(both, "del", "b", "d", JSON)
    works(both, "del", "d/", "--prefix", "--prev-kv", FIELDS)
    works(both, "del", "", "--from-key")
    fails(both, "del", "")
    works(both, "get", "", "--prefix", JSON)


def test_txn(both: TWO) -> None:
    works(both, "put", "a", "1")
    passing = 'value("a") = "1"\nversion("a") > "0"\ncreate("b") = "0"\n\nput b 2\nget a\ndel a\n\nget a\n\n'
    works(both, "txn", stdin=passing)
    works(both, "txn", stdin=passing)
    works(both, "txn", "--interactive", stdin='mod("b") < "1000"\n\nget "" --from-key\n\n\n')
    works(both, "txn", JSON, stdin='version("b") = "1"\n\nput c "with space"\n\nput d 1\n\n')
    works(both, "txn", FIELDS, stdin='value("b") != "2"\n\nget b\n\nput e 1\nget e\n\n')
    fails(both, "txn", stdin='value("a") = "1"\n\nput a 1\nput a 2\n\n\n')
    works(both, "get", "", "--prefix", JSON)


def test_compaction(both: TWO) -> None:
    for number in range(10):
        works(both, "put", "k", str(number))
    works(both, "compaction", "5")
    fails(both, "compaction", "5")
    fails(both, "compaction", "500")
    fails(both, "compaction", "x")
    fails(both, "get", "k", "--rev=4")
    works(both, "get", "k", "--rev=5", JSON)
    works(both, "compact", "8", "--physical=true")
    works(both, "get", "k", "--rev=8", FIELDS)
    works(both, "endpoint", "hashkv", JSON)
    fails(both, "watch", "k", "--rev=3")


def test_leases(both: TWO) -> None:
    granted = r"lease ([0-9a-f]+) granted"
    remembers(both, "one", granted, "lease", "grant", "5000")
    remembers(both, "two", granted, "lease", "grant", "6000")
    works(both, "put", "a", "1", "--lease=${one}")
    works(both, "put", "b", "1", "--lease=${one}")
    works(both, "put", "b", "2", "--ignore-lease")
    works(both, "put", "c", "1", "--lease=${two}")
    works(both, "get", "", "--prefix", JSON)
    works(both, "lease", "timetolive", "${two}", "--keys")
    works(both, "lease", "timetolive", "${one}", JSON)
    works(both, "lease", "timetolive", "${two}", "--keys", FIELDS)
    works(both, "lease", "timetolive", "1234")
    works(both, "lease", "keep-alive", "${one}", "--once")
    fails(both, "lease", "keep-alive", "1234", "--once")
    lists = [sorted(one.run("lease", "list").stdout.splitlines()) for one in both]
    assert lists[0] == lists[1]
    works(both, "lease", "revoke", "${one}")
    fails(both, "lease", "revoke", "${one}")
    works(both, "lease", "timetolive", "${one}")
    works(both, "lease", "list")
    works(both, "get", "", "--prefix", JSON)
    works(both, "lease", "revoke", "${two}", JSON)
    fails(both, "lease", "grant", "9000000001")
    fails(both, "lease", "grant", "x")


def test_a_lease_kept_alive(both: TWO) -> None:
    remembers(both, "lease", r"lease ([0-9a-f]+) granted", "lease", "grant", "2")
    keepers = [one.background("lease", "keep-alive", "${lease}") for one in both]
    # More lines than one life of the lease has.
    printed = [keeper.wait_for_lines(5)[:5] for keeper in keepers]
    assert printed[0] == printed[1]


def test_watch(both: TWO) -> None:
    works(both, "put", "k1", "1")
    works(both, "put", "k2", "2")
    changes = [("put", "k1", "3"), ("del", "k2"), ("put", "other", "x"), ("put", "k3", "4")]
    watches_the_same(both, ["watch", "k", "--prefix", "--rev=2"], changes, 15)
    watches_the_same(both, ["watch", "k1", "k3", "--rev=2", "--prev-kv"], [], 16)
    watches_the_same(both, ["watch", "k1", "--rev=3", FIELDS], [], 11)
    watches_the_same(both, ["watch", "k", "--prefix", "--rev=5", JSON], [], 1)
    watches_the_same(both, ["watch", "k1", "--rev=2", "--", "sh", "-c", "echo $ETCD_WATCH_EVENT_TYPE"], [], 8)


def test_watch_interactively(both: TWO) -> None:
    works(both, "put", "k1", "1")
    works(both, "put", "j1", "1")
    stdin = "watch k --prefix --rev=1\nwatch j1 --rev=1\n"
    watchers = [one.background("watch", "--interactive", stdin=stdin) for one in both]
    for watcher in watchers:
        watcher.wait_for_lines(6)
    printed = [sorted(watcher.stop()) for watcher in watchers]
    assert printed[0] == printed[1]


def test_lock(both: TWO) -> None:
    works(both, "lock", "name", "echo", "under the lock")
    fails(both, "lock", "name", "--ttl=20", "--", "sh", "-c", "exit 3")
    holders = [one.background("lock", "name") for one in both]
    held = [holder.wait_for_lines(1)[:1] for holder in holders]  # an empty one may follow
    waiters = [one.background("lock", "name", "echo", "second") for one in both]
    works(both, "get", "name", "--prefix", "--keys-only", "--limit=1")
    for holder in holders:
        holder.stop()
    second = [waiter.wait_for_lines(1)[:1] for waiter in waiters]
    assert (held[0], second[0]) == (held[1], second[1])
    assert second[0] == ["second"]


def test_elect(both: TWO) -> None:
    leaders = [one.background("elect", "name", "first value") for one in both]
    led = [leader.wait_for_lines(2) for leader in leaders]
    observers = [one.background("elect", "--listen", "name") for one in both]
    observed = [observer.wait_for_lines(2) for observer in observers]
    for leader in leaders:
        leader.stop()
    for one in both:
        one.background("elect", "name", "second value")
    followed = [observer.wait_for_lines(4) for observer in observers]
    assert (led[0], observed[0], followed[0]) == (led[1], observed[1], followed[1])


def test_cluster_and_maintenance(both: TWO) -> None:
    works(both, "put", "k", "1")
    for output in ("--write-out=simple", JSON, FIELDS, TABLE):
        works(both, "member", "list", output)
        works(both, "endpoint", "status", output)
        works(both, "endpoint", "health", output)
        works(both, "endpoint", "hashkv", output)
        same(both, "alarm", "list", output)
    works(both, "alarm", "disarm")
    works(both, "defrag")
    works(both, "get", "k", JSON)
    works(both, "version")


@pytest.mark.long
def test_check_perf(both: TWO) -> None:
    # Both at once: it takes a minute each.  Its verdicts are about speed, which is no test's business;
    # that it comes to them at all is.
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda one: one.run("check", "perf", "--load=s", seconds=180), both))
    for result in results:
        for judged in ("Throughput", "lowest request", "tddev"):
            assert judged in result.stdout, result
