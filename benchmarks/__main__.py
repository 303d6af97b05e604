"""``python -m benchmarks``: etcd and rusd on the same work, in turns."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import calls, machine, report
from benchmarks.bench import FULL, QUICK, SHAPES, Bench, Part, Shape, Turn, run
from benchmarks.generator import build
from benchmarks.readings import Series
from benchmarks.servers import BenchmarkError, Subject, etcd, rusd

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs" / "benchmarks"
PARTS: tuple[Part, ...] = (*calls.PARTS,)
ALTERNATIONS = 5
HEAVY_ALTERNATIONS = 3


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """The command line of ``python -m benchmarks``; ends the process for one that makes no sense."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, epilog=_parts_help())
    add_options(parser)
    parser.add_argument("--servers", default="etcd,rusd", help="what to run (default: etcd,rusd)")
    parser.add_argument(
        "--docs", action="store_true", help="write docs/benchmarks/results.md, .json and .svg"
    )
    parsed = parser.parse_args(words)
    parsed.servers = parsed.servers.split(",")
    if not set(parsed.servers) <= {"etcd", "rusd"}:
        parser.error("--servers takes etcd, rusd or both")
    return parsed


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that the comparison of two commits has as well."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    names = [part.name for part in PARTS]
    parser.add_argument("--only", type=_parts, default=PARTS, metavar="PART,…", help=f"of {', '.join(names)}")
    parser.add_argument("--skip", type=_parts, default=(), metavar="PART,…", help="all but these")
    parser.add_argument(
        "--clients", type=_shapes, default=SHAPES, metavar="NxM,…", help="clients x calls of each: 1x1,4x64"
    )
    parser.add_argument(
        "--alternations", type=_positive, metavar="N", help=f"turns of each server (default: {ALTERNATIONS})"
    )
    parser.add_argument(
        "--heavy-alternations",
        type=_positive,
        metavar="N",
        help=f"turns in the parts that take minutes (default: {HEAVY_ALTERNATIONS}, or --alternations if less)",
    )
    parser.add_argument("--quick", action="store_true", help="small numbers, one turn: does it work at all?")
    parser.add_argument("--directory", type=Path, help="where servers keep their data; a real disk")
    parser.add_argument("--json", type=Path, help="write every reading here")
    parser.add_argument("--markdown", type=Path, help="write the tables here as well")
    parser.add_argument("--plot", type=Path, help="draw the ratios here: .svg or .png (needs matplotlib)")


def main(words: Sequence[str] | None = None) -> int:
    """Run and print; returns the exit status."""
    options = arguments(sys.argv[1:] if words is None else words)
    if options.docs:
        DOCS.mkdir(parents=True, exist_ok=True)
        options.json, options.markdown = DOCS / "results.json", DOCS / "results.md"
        options.plot = DOCS / "results.svg"
    with ends_in_order():
        subjects = [etcd() if name == "etcd" else rusd(ROOT) for name in options.servers]
        measure_and_show(options, "Benchmarks: etcd and rusd", subjects)
    return 0


def measure_and_show(options: argparse.Namespace, title: str, subjects: Sequence[Subject]) -> None:
    """Run the chosen parts; print the page and write what was asked for."""
    with working_folder(options.directory) as folder:
        sizes = QUICK if options.quick else FULL
        bench = Bench(build(folder), folder, sizes, options.clients)
        alternations, heavy = turns(options)
        facts = machine.facts(folder, tuple(subjects))
        facts["alternations"] = f"{alternations}, in the parts that take minutes {heavy}"
        chosen = [part for part in options.only if part not in options.skip]
        began = time.monotonic()
        series = run(bench, chosen, subjects, alternations, heavy, _announce)
        facts["duration"] = f"{(time.monotonic() - began) / 60:.0f} minutes"
    labels = subjects[0].label, subjects[-1].label
    page = report.page(title, facts, labels, series)
    print(page)
    _write(options, title, page, report.as_json(facts, labels, series), series, labels)


def turns(options: argparse.Namespace) -> tuple[int, int]:
    """How many alternations, and how many of the heavy parts."""
    alternations = options.alternations or (1 if options.quick else ALTERNATIONS)
    return alternations, options.heavy_alternations or min(alternations, HEAVY_ALTERNATIONS)


@contextlib.contextmanager
def working_folder(wanted: Path | None) -> Iterator[Path]:
    """A new folder on a real disk, gone afterwards.

    Raises :class:`BenchmarkError` if it would be in memory: a sync costs nothing there.
    """
    parent = wanted or Path(tempfile.gettempdir())
    if wanted is None and machine.file_system(parent) in machine.MEMORY_FILE_SYSTEMS:
        parent = Path("/var/tmp")
    if machine.file_system(parent) in machine.MEMORY_FILE_SYSTEMS:
        raise BenchmarkError(f"{parent} is in memory; name a folder on a disk with --directory")
    with tempfile.TemporaryDirectory(prefix="rusd-benchmarks-", dir=parent) as folder:
        yield Path(folder)


@contextlib.contextmanager
def ends_in_order() -> Iterator[None]:
    """Servers and folders go on Ctrl-C and SIGTERM too; what went wrong is one line."""

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    except BenchmarkError as error:
        raise SystemExit(f"benchmarks: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _announce(turn: Turn) -> None:
    message = f"{time.strftime('%H:%M:%S')} {turn.part.name} {turn.number}/{turn.of} {turn.subject.label}"
    print(message, file=sys.stderr, flush=True)


def _write(
    options: argparse.Namespace,
    title: str,
    page: str,
    document: str,
    series: Sequence[Series],
    labels: tuple[str, str],
) -> None:
    if options.json:
        options.json.write_text(document)
    if options.markdown:
        options.markdown.write_text(page)
    if options.plot:
        raise NotImplementedError


# -- the command line's words -------------------------------------------------------------


def _parts(text: str) -> tuple[Part, ...]:
    known = {part.name: part for part in PARTS}
    names = text.split(",")
    if unknown := [name for name in names if name not in known]:
        raise argparse.ArgumentTypeError(f"no part is called {unknown[0]!r}; there are {', '.join(known)}")
    return tuple(known[name] for name in names)


def _shapes(text: str) -> tuple[Shape, ...]:
    try:
        pairs = [tuple(map(_positive, one.split("x"))) for one in text.split(",")]
        return tuple(Shape(connections, streams) for connections, streams in pairs)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} isn't clients x calls, like 1x1,4x64") from None


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} isn't a number above 0")
    return int(text)


def _parts_help() -> str:
    width = max(len(part.name) for part in PARTS)
    return "parts:\n" + "\n".join(f"  {part.name:{width}}  {part.summary}" for part in PARTS)


if __name__ == "__main__":
    sys.exit(main())
