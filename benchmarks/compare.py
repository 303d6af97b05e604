"""Two commits of rusd on the same work, in turns: what has become faster, what slower?"""

from __future__ import annotations

import argparse
import compileall
import io
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import attrs

from benchmarks.command import add_options, in_order, measure_and_show, working_folder
from benchmarks.machine import revision
from benchmarks.servers import BenchmarkError, Subject, rusd

ROOT = Path(__file__).resolve().parents[1]
HERE = "."
"""Instead of a commit: the files as they are now."""


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line; ends the process if it makes no sense."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("before", help=f"a commit; {HERE} for the files as they are")
    parser.add_argument("after", help="another one")
    add_options(parser)
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    """Measure and print; returns the exit status."""
    options = arguments(words)
    return in_order(lambda: _compare(options))


def _compare(options: argparse.Namespace) -> int:
    with working_folder(options.directory) as folder:
        subjects = [
            checked_out(options.before, folder / "before"),
            checked_out(options.after, folder / "after"),
        ]
        if subjects[0].label == subjects[1].label:
            # To see what differs when nothing does.
            subjects[1] = attrs.evolve(subjects[1], label=f"{subjects[1].label} again")
        return measure_and_show(options, "Benchmarks of two commits", subjects)


def checked_out(name: str, folder: Path) -> Subject:
    """The rusd of a commit, its files in ``folder``, already compiled.

    Raises :class:`BenchmarkError` if there is no such commit.
    """
    if name == HERE:
        return rusd(ROOT, name, revision(ROOT))
    commit = _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").decode().strip()
    with tarfile.open(fileobj=io.BytesIO(_git("archive", "--format=tar", commit, "rusd", "etcdpb"))) as files:
        if hasattr(tarfile, "data_filter"):  # not before Python 3.11.4
            files.extraction_filter = tarfile.data_filter
        files.extractall(folder)
    # Or the first start would be that of a compiler.
    compileall.compile_dir(folder, quiet=1)
    return rusd(folder, name, f"commit {commit[:12]}")


def _git(*arguments: str) -> bytes:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, timeout=60, check=False)
    if done.returncode != 0:
        message = done.stderr.decode(errors="replace").strip() or "no such commit"
        raise BenchmarkError(f"git {' '.join(arguments)}: {message}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
