"""etcd and rusd on the same work, in turns: how do they compare?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.command import add_options, in_order, measure_and_show
from benchmarks.machine import revision
from benchmarks.servers import Subject, etcd, rusd

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs" / "benchmarks"
SERVERS = ("etcd", "rusd")


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line; ends the process if it makes no sense."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add_options(parser)
    parser.add_argument("--servers", type=_servers, default=SERVERS, help="one of etcd,rusd only")
    parser.add_argument(
        "--docs",
        nargs="?",
        const="results",
        metavar="NAME",
        help="write docs/benchmarks/NAME.*, or results.*",
    )
    options = parser.parse_args(words)
    if options.docs:
        options.json, options.markdown, options.plot = (
            DOCS / f"{options.docs}.{suffix}" for suffix in ("json", "md", "svg")
        )
    return options


def main(words: Sequence[str]) -> int:
    """Measure and print; returns the exit status."""
    options = arguments(words)
    if options.docs:
        DOCS.mkdir(parents=True, exist_ok=True)
    return in_order(lambda: measure_and_show(options, "Benchmarks", _subjects(options.servers)))


def _subjects(names: Sequence[str]) -> list[Subject]:
    return [etcd() if name == "etcd" else rusd(ROOT, revision=revision(ROOT)) for name in names]


def _servers(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if not set(names) <= set(SERVERS):
        raise argparse.ArgumentTypeError(f"{text!r} is not among {', '.join(SERVERS)}")
    return names


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
