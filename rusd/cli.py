"""The ``rusd`` command: flags in, a server out, and the way the process ends.

The only place that installs signal handlers, tunes the garbage collector,
writes to standard output and ends the process.  Exit codes are etcd's: 0 for a
server that stopped by itself, 1 for one that could not start or had to give
up, 2 for flags that make no sense; after SIGINT or SIGTERM the process dies by
that signal.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import linecache
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from typing import NoReturn

import attrs
import trio

import rusd
from rusd.config import Config, ExitRequest, UsageError, parse
from rusd.environment import Environment, RealClock, StderrSink, real_environment
from rusd.garbage import Collector
from rusd.listeners import StartError
from rusd.logs import Logger, make_logger
from rusd.replica import WalFailedError
from rusd.server import RemovedError, Server

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
THREAD_SWITCH_SECONDS = 0.0002

_SIGNAL_NAMES = {signal.SIGINT: "interrupt", signal.SIGTERM: "terminated"}


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command with ``arguments`` (by default the process's own) and end the process."""
    argv = list(sys.argv if arguments is None else arguments)
    try:
        parsed = parse(argv[1:], os.environ, _read_file)
    except ExitRequest as request:  # --version, --help
        sys.stderr.write(request.stderr)
        sys.stdout.write(request.output)
        sys.exit(0)
    except UsageError as error:
        _refuse(error)
    config = parsed.config
    collector = Collector()
    environment = attrs.evolve(
        real_environment(fsync=not config.unsafe_no_fsync), after_slice=collector.collect
    )
    log = make_logger(
        environment.log_sink, environment.clock, level=config.log_level, format=config.log_format
    )
    log.info("Running: ", args=argv)
    for notice in parsed.notices:
        notice.write(log)
    _raise_descriptor_limit()
    # A thread that comes back from a sync waits for the interpreter this long if the loop is busy: by
    # default five milliseconds, which is many times the sync.
    sys.setswitchinterval(THREAD_SWITCH_SECONDS)
    _remove_stale_ready_file(config.ready_file)
    # Until the server is up a signal ends the process at once: it is safe to be killed at any instant.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        received = trio.run(_run, config, environment, log, instruments=[collector])
    except Exception as error:
        if _find(error, WalFailedError):
            # The log line has been written where it happened.  No goodbyes: nothing may look acknowledged.
            os._exit(1)
        if _find(error, RemovedError):
            sys.exit(0)  # as was asked for; what there is to say is in the log
        if (cause := _find(error, StartError)) is None:
            raise
        log.fatal("discovery failed", error=str(cause))
        sys.exit(1)
    _end(received)


def _refuse(error: UsageError) -> NoReturn:
    """End the process over a configuration that can't be used, as etcd does."""
    sys.stderr.write(error.stderr)
    log = make_logger(StderrSink(), RealClock())
    for notice in error.notices:
        notice.write(log)
    sys.exit(error.exit_code)


async def _run(config: Config, environment: Environment, log: Logger) -> int:
    """Serve until a signal comes, then say goodbye; the signal's number."""
    async with rusd.serve(config, environment, log=log) as server:
        with trio.open_signal_receiver(*_SIGNALS) as signals:
            _announce(config, server, log)
            _settle_memory()
            first = await anext(signals)
            log.info("received signal; shutting down", signal=_SIGNAL_NAMES[signal.Signals(first)])
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_on_signal, signals, nursery.cancel_scope)
                await server.drain()
                nursery.cancel_scope.cancel()
    return first


async def _cancel_on_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    """Whoever sends a second signal does not want to wait for clients."""
    await anext(signals)
    scope.cancel()


def _settle_memory() -> None:
    """Everything made so far stays: have nobody look at it again, and give back what starting took.

    That is the text of generated methods, which attrs keeps for tracebacks, and what the C library
    has kept of freed memory.
    """
    gc.freeze()  # without a collection before, which would take long after a large store was read
    linecache.clearcache()
    with contextlib.suppress(OSError, AttributeError):  # not the GNU C library
        ctypes.CDLL(None).malloc_trim(0)


def _remove_stale_ready_file(path: str) -> None:
    """Remove what a process that is gone has left: it must not speak for this one.

    One whose process lives is left alone: this start may be about to be refused.
    """
    try:
        with open(path, encoding="utf-8") as file:
            writer = json.load(file)["pid"]
        os.kill(writer, 0)
    except ProcessLookupError:
        os.unlink(path)
    except (OSError, ValueError, LookupError, TypeError):
        return  # none there, or none of ours


def _announce(config: Config, server: Server, log: Logger) -> None:
    """Tell whoever started us that clients may come.  Raises :class:`StartError`."""
    if config.ready_file:
        text = json.dumps(
            {
                "client_urls": server.client_urls,
                "peer_urls": server.peer_urls,
                "advertise_client_urls": server.advertised_client_urls,
                "initial_advertise_peer_urls": server.advertised_peer_urls,
                "member_id": f"{server.member_id:x}",
                "cluster_id": f"{server.cluster_id:x}",
                "pid": os.getpid(),
            }
        )
        temporary = f"{config.ready_file}.{os.getpid()}.tmp"
        try:
            with open(temporary, "w", encoding="utf-8") as file:
                file.write(text + "\n")
            os.replace(temporary, config.ready_file)  # whoever waits for it never sees half of it
        except OSError as error:
            raise StartError(f"cannot write the ready file: {error}") from error
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        log.info("notifying init daemon")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
                # systemd names abstract sockets with a leading @
                notify.sendto(b"READY=1", "\0" + address[1:] if address.startswith("@") else address)
        except OSError as error:
            log.error("failed to notify systemd for readiness", error=str(error))
        else:
            log.info("successfully notified init daemon")


def _end(received: int) -> NoReturn:
    """End the process: by the signal it got, so that its parent sees that; as pid 1 just end."""
    if received and os.getpid() != 1:
        signal.signal(received, signal.SIG_DFL)
        os.kill(os.getpid(), received)
    sys.exit(0)


def _raise_descriptor_limit() -> None:
    """Each client takes a descriptor; have as many as the administrator allows, as Go programs do."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _find(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """The first exception of that kind in ``error``, which may be a group."""
    if isinstance(error, BaseExceptionGroup):
        return next((found for inner in error.exceptions if (found := _find(inner, kind))), None)
    return error if isinstance(error, kind) else None


def _read_file(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()
