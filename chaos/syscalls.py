"""A slow or failing disk for one process, without root: its sync calls wait for this tool's permission.

Linux lets a process hand the decision about chosen system calls to another one (seccomp user notification,
since 5.5).  The server is started with such a filter on fsync, fdatasync and fallocate; everything else it
does is untouched.  What comes in is let through at once, later, or answered with an error such as ENOSPC.

This can't undo a write: the pages of a failed sync are still in the page cache, and may be there after a
restart.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import os
import platform
import select
import socket
import struct
import subprocess
import sys
from collections.abc import Callable

import attrs
import trio


@attrs.frozen
class _Machine:
    """Numbers that depend on the processor: audit architecture and system calls."""

    architecture: int
    seccomp: int
    trapped: tuple[int, ...]


_MACHINES = {
    "x86_64": _Machine(0xC000003E, 317, (74, 75, 285)),
    "aarch64": _Machine(0xC00000B7, 277, (82, 83, 47)),
}

_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER, _NEW_LISTENER = 1, 1 << 3
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_LOAD_WORD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_OFFSET_OF_NUMBER, _OFFSET_OF_ARCHITECTURE = 0, 4
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_NOTIFICATION_BYTES = 80
_CONTINUE = 1


def available() -> bool:
    """Whether this system can do it: tried with a process that does nothing."""
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        return False
    gate = DiskGate()
    try:
        subprocess.run([sys.executable, "-c", ""], preexec_fn=gate.prepare(), check=True)
    except (OSError, subprocess.SubprocessError):
        return False  # an old kernel, or a container that allows no filters
    finally:
        gate.close()
    return True


class DiskGate:
    """The sync calls of one process; :meth:`prepare` before its start, :meth:`serve` as long as it lives."""

    def __init__(self) -> None:
        self.delay = 0.0
        """Seconds that each call takes longer."""
        self.error = 0
        """The errno that each call fails with; 0 for none."""
        self.held = 0
        """How many calls were delayed or failed."""
        self._here, self._there = socket.socketpair()

    def prepare(self) -> Callable[[], None]:
        """What the new process has to do before it becomes the server."""
        there = self._there
        return lambda: _install(there)

    def close(self) -> None:
        """Give up a gate that is not to be served."""
        self._here.close()
        self._there.close()

    async def serve(self) -> None:
        """Decide about calls until the process is gone.  To be run once it has started."""
        self._there.close()
        listener = _receive_listener(self._here)
        self._here.close()
        hangup = select.poll()
        hangup.register(listener, 0)
        try:
            async with trio.open_nursery() as nursery:
                while not hangup.poll(0):
                    await trio.lowlevel.wait_readable(listener)
                    number = _receive(listener)
                    if number is None:
                        continue
                    if self.delay:
                        nursery.start_soon(self._answer_later, listener, number)
                    else:
                        self._answer(listener, number)
        finally:
            os.close(listener)

    async def _answer_later(self, listener: int, number: int) -> None:
        await trio.sleep(self.delay)
        self.held += 1
        self._answer(listener, number)

    def _answer(self, listener: int, number: int) -> None:
        failed = self.error
        self.held += bool(failed)
        answer = struct.pack("QqiI", number, 0, -failed, 0 if failed else _CONTINUE)
        try:
            fcntl.ioctl(listener, _SEND, answer)
        except OSError as error:
            if error.errno != errno.ENOENT:  # the caller was killed, or its call interrupted
                raise


def _receive(listener: int) -> int | None:
    """The number of the next call; None if its caller has gone meanwhile."""
    buffer = bytearray(_NOTIFICATION_BYTES)
    try:
        fcntl.ioctl(listener, _RECEIVE, buffer)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINTR):
            return None
        raise
    number: int = struct.unpack_from("Q", buffer)[0]
    return number


def _receive_listener(channel: socket.socket) -> int:
    channel.setblocking(True)
    _, (listener,), _, _ = socket.recv_fds(channel, 1, 1)
    return listener


# -- in the new process -------------------------------------------------------------


def _install(channel: socket.socket) -> None:
    """Install the filter and send its listener to the tool.  Runs between fork and exec."""
    machine = _MACHINES[platform.machine()]
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    program = _program(machine)
    instructions = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(instructions))
    listener = library.syscall(machine.seccomp, _SET_MODE_FILTER, _NEW_LISTENER, header)
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    rights = array.array("i", [listener])
    channel.sendmsg([b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    os.close(listener)


def _program(machine: _Machine) -> bytes:
    """A classic BPF program: the trapped calls of this architecture notify, all others pass."""
    count = len(machine.trapped)
    instructions = [
        (_LOAD_WORD, 0, 0, _OFFSET_OF_ARCHITECTURE),
        (_JUMP_IF_EQUAL, 1, 0, machine.architecture),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD_WORD, 0, 0, _OFFSET_OF_NUMBER),
        *((_JUMP_IF_EQUAL, count - index, 0, number) for index, number in enumerate(machine.trapped)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _NOTIFY),
    ]
    return b"".join(struct.pack("HBBI", code, yes, no, value) for code, yes, no, value in instructions)
