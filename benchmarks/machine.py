"""What a result has to be read with: date, machine, disk, versions."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.servers import Subject

MEMORY_FILE_SYSTEMS = frozenset(("tmpfs", "ramfs"))
_SYNCS = 200


def facts(folder: Path, subjects: Sequence[Subject]) -> dict[str, str]:
    """Names and values for the head of a report; ``folder`` is where the servers keep their data."""
    found = {
        "date": datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 1e9:.0f} GB",
        "kernel": platform.release(),
        "disk": f"{file_system(folder)}; to append 256 bytes and sync: {_sync_microseconds(folder):.0f} µs",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "trio": importlib.metadata.version("trio"),
    }
    return found | {subject.label: version(subject) for subject in subjects}


def version(subject: Subject) -> str:
    """What the program says of itself."""
    done = subprocess.run(
        [*subject.command, "--version"],
        env={**os.environ, **subject.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    named = re.search(r"rusd ([^,)]+)", done.stdout) or re.search(r"etcd Version: (\S+)", done.stdout)
    number = named[1] if named else "unknown"
    return f"{number}, {subject.revision}" if subject.revision else number


def revision(checkout: Path) -> str:
    """The commit of a checkout, and whether it was changed; empty for a folder that is none."""
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return f"commit {done.stdout.strip()}" if done.returncode == 0 else ""


def file_system(folder: Path) -> str:
    """The type of the file system that a folder is on."""
    path = folder.resolve()
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _device, mount, this_kind, *_rest = line.split()
        inside = mount == "/" or path == Path(mount) or Path(mount) in path.parents
        if inside and len(mount) >= len(best):
            best, kind = mount, this_kind
    return kind


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _sync_microseconds(folder: Path) -> float:
    """The median time of appending 256 bytes to a file and syncing it."""
    path = folder / "sync-probe"
    times = []
    with path.open("wb", buffering=0) as file:
        for _ in range(_SYNCS):
            began = time.perf_counter()
            file.write(bytes(256))
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    path.unlink()
    return statistics.median(times) * 1e6
