"""The ``rusd`` command as a process: what it prints, what it leaves behind, how it ends."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from etcdpb import rpc_pb2
from rusd.environment import RealClock, real_environment
from rusd.grpc import StatusError
from rusd.logs import make_logger
from rusd.net import connect
from rusd.testing import ListSink

DEADLINE = 30.0
LOG = make_logger(ListSink(), RealClock())
ANY_PORT = "http://127.0.0.1:0"
PORTS = (
    f"--listen-client-urls={ANY_PORT}",
    f"--advertise-client-urls={ANY_PORT}",
    f"--listen-peer-urls={ANY_PORT}",
    f"--initial-advertise-peer-urls={ANY_PORT}",
    f"--initial-cluster=default={ANY_PORT}",
)
ROOT = Path(__file__).resolve().parent.parent


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ETCD_", "NOTIFY_"))}
    return kept | {"PYTHONPATH": str(ROOT)} | more


def run(*flags: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command until it ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "rusd", *flags],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        env=environment(**variables),
        check=False,
    )


class Running:
    """A started command whose ready file is there."""

    def __init__(self, directory: Path, *flags: str, **variables: str) -> None:
        self.ready_file = directory / "ready.json"
        self.log_path = directory / "log"
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "rusd", f"--ready-file={self.ready_file}", *flags],
                stdout=log,
                stderr=log,
                env=environment(**variables),
            )
        try:
            self.ready = self._wait()
        except BaseException:
            self.kill()
            raise

    def _wait(self) -> dict[str, Any]:
        deadline = time.monotonic() + DEADLINE
        while not self.ready_file.exists():
            assert self.process.poll() is None, self.log_path.read_text()
            assert time.monotonic() < deadline, self.log_path.read_text()
            time.sleep(0.01)
        text: dict[str, Any] = json.loads(self.ready_file.read_text())
        return text

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.ready["client_urls"][0].removeprefix("http://").rpartition(":")
        return host, int(port)

    def log(self, message: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log_path.read_text().splitlines()]
        return [line for line in lines if line["msg"] == message]

    def end(self, number: int) -> int:
        """Send a signal and return the exit status, as subprocess gives it."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE)


@contextmanager
def running(directory: Path, *flags: str, data: str = "", **variables: str) -> Iterator[Running]:
    server = Running(directory, f"--data-dir={data or directory / 'data'}", *PORTS, *flags, **variables)
    try:
        yield server
    finally:
        server.kill()


def fatal(output: str) -> dict[str, Any]:
    """The one fatal line."""
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if line["level"] == "fatal"]
    return line


# -- without a server ---------------------------------------------------------------------------


def test_the_version_is_four_lines_and_the_first_is_what_tools_look_for() -> None:
    for flag in ("--version", "-version"):
        done = run(flag)
        assert (done.returncode, done.stderr) == (0, "")
        lines = done.stdout.splitlines()
        assert lines[0] == "etcd Version: 3.6.14"
        assert [line.partition(":")[0] for line in lines] == [
            "etcd Version",
            "Git SHA",
            "Go Version",
            "Go OS/Arch",
        ]


def test_help_lists_the_flags_and_is_no_failure() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "--listen-client-urls" in done.stdout
    assert done.stderr


@pytest.mark.parametrize("flag", ["--no-such-flag", "--heartbeat-interval=soon", "--enable-v2"])
def test_a_flag_that_makes_no_sense_ends_with_2(flag: str, tmp_path: Path) -> None:
    done = run(f"--data-dir={tmp_path / 'data'}", flag)
    assert done.returncode == 2
    assert flag.partition("=")[0].lstrip("-") in done.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "flags",
    [
        ["--listen-client-urls=http://example.com:1", "--advertise-client-urls=http://example.com:1"],
        ["--listen-client-urls=http://127.0.0.1:1"],
        ["--heartbeat-interval=100", "--election-timeout=200"],
        ["--initial-cluster=default=http://127.0.0.1:1,other=http://127.0.0.1:2"],
        ["word"],
    ],
)
def test_a_configuration_that_cannot_be_used_ends_with_1(flags: list[str], tmp_path: Path) -> None:
    done = run(f"--data-dir={tmp_path / 'data'}", *flags)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()
    assert not (tmp_path / "data").exists()


def test_a_flag_and_its_variable_exclude_each_other(tmp_path: Path) -> None:
    done = run(f"--data-dir={tmp_path}", "--name=a", ETCD_NAME="b")
    assert done.returncode == 1
    assert "conflicting environment variable" in done.stderr


# -- starts that fail ------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_one_clear_line_and_touches_nothing(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        for kind in ("client", "peer"):
            advertise = "advertise-client-urls" if kind == "client" else "initial-advertise-peer-urls"
            flags = [*PORTS, f"--listen-{kind}-urls={url}", f"--{advertise}={url}"]
            if kind == "peer":
                flags.append(f"--initial-cluster=default={url}")
            done = run(f"--data-dir={tmp_path / 'data'}", *flags)
            assert done.returncode == 1
            assert "Traceback" not in done.stderr
            line = fatal(done.stderr)
            assert line["msg"] == "discovery failed"
            assert line["error"] == f"listen tcp {url.removeprefix('http://')}: bind: address already in use"
    assert not (tmp_path / "data").exists()


def test_a_data_directory_in_use_is_refused(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        done = run(f"--data-dir={tmp_path / 'data'}", *PORTS)
        assert done.returncode == 1
        assert "another process uses this data directory" in fatal(done.stderr)["error"]
        assert server.process.poll() is None


def test_a_data_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    done = run(f"--data-dir={tmp_path / 'file'}", *PORTS)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert str(tmp_path / "file") in fatal(done.stderr)["error"]
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    done = run(f"--data-dir={tmp_path / 'data'}", *PORTS)
    assert done.returncode == 1
    assert "Permission denied" in fatal(done.stderr)["error"]


def test_etcds_own_data_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "member" / "snap").mkdir(parents=True)
    (tmp_path / "member" / "snap" / "db").write_bytes(b"bbolt")
    done = run(f"--data-dir={tmp_path}", *PORTS)
    assert done.returncode == 1
    assert "belongs to etcd" in fatal(done.stderr)["error"]
    assert [path.name for path in tmp_path.rglob("*")] == ["member", "snap", "db"]


# -- a life ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order_and_the_parent_sees_the_signal(number: int, tmp_path: Path) -> None:
    with running(tmp_path) as server:
        assert server.end(number) == -number  # a shell makes 143 and 130 of these
        (line,) = server.log("received signal; shutting down")
        assert line["signal"] == {signal.SIGTERM: "terminated", signal.SIGINT: "interrupt"}[number]
        assert server.log("closing etcd server")
        assert server.log("closed etcd server")
        levels = {json.loads(line)["level"] for line in server.log_path.read_text().splitlines()}
        assert not levels & {"error", "fatal"}


def test_a_second_signal_does_not_wait_for_clients(tmp_path: Path) -> None:
    with running(tmp_path) as server, socket.create_connection(server.address) as silent:
        silent.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        assert silent.recv(100)
        server.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + DEADLINE
        while not server.log("received signal; shutting down"):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert server.end(signal.SIGINT) == -signal.SIGTERM  # the first one is what it dies by


def test_the_ready_file_tells_who_and_where(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        ready = server.ready
        assert sorted(ready) == [
            "advertise_client_urls",
            "client_urls",
            "cluster_id",
            "initial_advertise_peer_urls",
            "member_id",
            "peer_urls",
            "pid",
        ]
        assert ready["advertise_client_urls"] == ready["client_urls"]
        assert ready["pid"] == server.process.pid
        for url in ready["client_urls"] + ready["peer_urls"]:
            assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d*", url)
        with urllib.request.urlopen(ready["client_urls"][0] + "/health", timeout=DEADLINE) as answer:
            assert json.load(answer) == {"health": "true", "reason": ""}
        with urllib.request.urlopen(ready["peer_urls"][0] + "/members", timeout=DEADLINE) as answer:
            assert f"{json.load(answer)[0]['id']:x}" == ready["member_id"]
        assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


def test_a_refused_start_leaves_the_ready_file_of_the_running_server_alone(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        done = run(f"--ready-file={server.ready_file}", f"--data-dir={tmp_path / 'data'}", *PORTS)
        assert done.returncode == 1
        assert json.loads(server.ready_file.read_text()) == server.ready


def test_the_ready_file_of_a_process_that_is_gone_is_removed(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        server.kill()
        stale = server.ready_file.read_text()
    flags = [flag for flag in PORTS if "initial-cluster" not in flag]
    missing = f"--data-dir={tmp_path / 'other'}"
    ready_file = f"--ready-file={tmp_path / 'ready.json'}"
    done = run(ready_file, missing, *flags, "--initial-cluster=nobody=http://127.0.0.1:1")
    assert done.returncode == 1
    assert stale
    assert not (tmp_path / "ready.json").exists()


def test_a_ready_file_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    done = run(f"--ready-file={tmp_path / 'no' / 'ready'}", f"--data-dir={tmp_path / 'data'}", *PORTS)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "cannot write the ready file" in fatal(done.stderr)["error"]


def test_a_cluster_without_this_member_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    flags = [flag for flag in PORTS if "initial-cluster" not in flag]
    done = run(f"--data-dir={tmp_path / 'data'}", *flags, "--initial-cluster=nobody=http://127.0.0.1:1")
    assert done.returncode == 1
    assert 'couldn\'t find local name "default"' in fatal(done.stderr)["error"]
    assert not (tmp_path / "data").exists()


def test_the_log_has_the_lines_that_tools_wait_for(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        for message in (
            "Running: ",
            "starting an etcd server",
            "published local member to cluster through raft",
            "now serving peer/client/metrics",
            "ready to serve client requests",
            "serving peer traffic",
        ):
            assert len(server.log(message)) == 1, message
        (line,) = server.log("serving client traffic insecurely; this is strongly discouraged!")
        assert line["traffic"] == "grpc+http"
        assert line["address"] == ":".join(map(str, server.address))
        (line,) = server.log("now serving peer/client/metrics")
        assert line["listen-client-urls"] == server.ready["client_urls"]


def test_a_second_start_finds_the_same_member(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        first = server.ready
        server.end(signal.SIGTERM)
    server.ready_file.unlink()
    with running(tmp_path) as server:
        assert (server.ready["member_id"], server.ready["cluster_id"]) == (
            first["member_id"],
            first["cluster_id"],
        )


def test_in_memory_leaves_nothing_behind(tmp_path: Path) -> None:
    with running(tmp_path, data=":memory:") as server:
        server.end(signal.SIGTERM)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "ready.json"]


def test_without_fsync_it_warns(tmp_path: Path) -> None:
    with running(tmp_path, "--unsafe-no-fsync", data=":memory:") as server:
        warnings = [json.loads(line) for line in server.log_path.read_text().splitlines()]
        assert any("fsync" in line["msg"] for line in warnings if line["level"] == "warn")


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux limits another process")
async def test_a_log_that_cannot_be_written_ends_it_at_once_and_loses_nothing(tmp_path: Path) -> None:
    acknowledged = 0
    with running(tmp_path) as server:
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
        with trio.fail_after(DEADLINE):
            async with connect(real_environment(), *server.address, LOG) as client:
                with pytest.raises(StatusError):  # noqa: PT012
                    while True:
                        request = rpc_pb2.PutRequest(key=b"%d" % acknowledged, value=bytes(100_000))
                        await client.unary("/etcdserverpb.KV/Put", request.SerializeToString())
                        acknowledged += 1
        assert server.process.wait(DEADLINE) == 1
        (line,) = [json.loads(line) for line in server.log_path.read_text().splitlines() if '"fatal"' in line]
        assert line["msg"].endswith("nothing more can be acknowledged")
    assert acknowledged > 5
    server.ready_file.unlink()
    with running(tmp_path) as server, trio.fail_after(DEADLINE):
        async with connect(real_environment(), *server.address, LOG) as client:
            everything = rpc_pb2.RangeRequest(key=b"\0", range_end=b"\0", count_only=True)
            answer = await client.unary("/etcdserverpb.KV/Range", everything.SerializeToString())
            assert rpc_pb2.RangeResponse.FromString(answer).count >= acknowledged


def test_the_init_daemon_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(tmp_path / "notify"))
        daemon.settimeout(DEADLINE)
        with running(tmp_path, data=":memory:", NOTIFY_SOCKET=str(tmp_path / "notify")) as server:
            assert daemon.recv(100) == b"READY=1"
            server.end(signal.SIGTERM)
            assert server.log("successfully notified init daemon")
