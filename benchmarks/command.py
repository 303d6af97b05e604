"""What both commands share: their options, the run, what is printed and kept."""

from __future__ import annotations

import argparse
import contextlib
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks import machine, plot, report
from benchmarks.bench import FULL, QUICK, SHAPES, Bench, Part, Shape, Turn, run
from benchmarks.generator import build
from benchmarks.readings import Series
from benchmarks.servers import BenchmarkError, Subject
from benchmarks.suite import PARTS

ALTERNATIONS = 5
HEAVY_ALTERNATIONS = 3


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of a run."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _parts_help()
    parser.add_argument("--only", type=_parts, default=PARTS, metavar="PART,…", help="these parts")
    parser.add_argument("--skip", type=_parts, default=(), metavar="PART,…", help="not these parts")
    parser.add_argument(
        "--clients",
        type=_shapes,
        default=SHAPES,
        metavar="NxM,…",
        help="connections x calls: 1x1,4x64",
    )
    parser.add_argument(
        "--alternations", type=_positive, metavar="N", help=f"turns of each server (default: {ALTERNATIONS})"
    )
    parser.add_argument(
        "--heavy-alternations",
        type=_positive,
        metavar="N",
        help=f"turns in parts that take minutes (default: as above, at most {HEAVY_ALTERNATIONS})",
    )
    parser.add_argument("--quick", action="store_true", help="small numbers, one turn: does it work at all?")
    parser.add_argument("--directory", type=Path, help="where servers keep their data; a real disk")
    parser.add_argument("--json", type=Path, help="write every reading here, after each part")
    parser.add_argument("--markdown", type=Path, help="write the tables here as well")
    parser.add_argument("--plot", type=Path, help="draw the ratios here: .svg or .png (needs matplotlib)")


def turns(options: argparse.Namespace) -> tuple[int, int]:
    """How many alternations, and how many of the heavy parts."""
    alternations: int = options.alternations or (1 if options.quick else ALTERNATIONS)
    return alternations, options.heavy_alternations or min(alternations, HEAVY_ALTERNATIONS)


def measure_and_show(options: argparse.Namespace, title: str, subjects: Sequence[Subject]) -> int:
    """Run the chosen parts, print the page, write what was asked for; returns the exit status.

    A part that fails is named in the page and makes the status 1; the others are measured nevertheless.
    """
    picture: Path | None = options.plot if len(subjects) > 1 else None
    if picture:
        plot.require()
    labels = [subject.label for subject in subjects]
    failures: list[str] = []
    with working_folder(options.directory) as folder:
        bench = Bench(build(folder), folder, QUICK if options.quick else FULL, options.clients)
        alternations, heavy = turns(options)
        facts = machine.facts(folder, subjects)
        facts["alternations"] = f"{alternations}; {heavy} in the parts that take minutes"
        chosen = [part for part in options.only if part not in options.skip]
        began = time.monotonic()
        series: list[Series] = []

        def failed(turn: Turn, error: BenchmarkError) -> None:
            failures.append(f"{turn.part.name}, {turn.subject.label}: {error}")
            print(f"benchmarks: {failures[-1]}", file=sys.stderr)

        for series in run(bench, chosen, subjects, alternations, heavy, _announce, failed):
            facts["duration"] = f"{(time.monotonic() - began) / 60:.1f} minutes"
            if options.json:
                options.json.write_text(report.as_json(facts, labels, series))
    page = report.page(title, facts, labels, series, failures, picture.name if picture else "")
    print(page)
    if options.markdown:
        options.markdown.write_text(page)
    if picture:
        plot.draw(picture, title, (labels[0], labels[1]), series)
    return 1 if failures else 0


@contextlib.contextmanager
def working_folder(wanted: Path | None) -> Iterator[Path]:
    """A new folder on a real disk, gone afterwards.

    Raises :class:`BenchmarkError` if it would be in memory: a sync costs nothing there.
    """
    parent = wanted or Path(tempfile.gettempdir())
    parent.mkdir(parents=True, exist_ok=True)
    if wanted is None and machine.file_system(parent) in machine.MEMORY_FILE_SYSTEMS:
        parent = Path("/var/tmp")
    if machine.file_system(parent) in machine.MEMORY_FILE_SYSTEMS:
        raise BenchmarkError(f"{parent} is in memory; name a folder on a disk with --directory")
    with tempfile.TemporaryDirectory(prefix="rusd-benchmarks-", dir=parent) as folder:
        yield Path(folder)


def in_order(command: Callable[[], int]) -> int:
    """Run ``command``; Ctrl-C and SIGTERM end servers and folders as well, an error is one line."""

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        return command()
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)


def _announce(turn: Turn) -> None:
    words = (time.strftime("%H:%M:%S"), turn.part.name, f"{turn.number}/{turn.of}", turn.subject.label)
    print(*words, file=sys.stderr, flush=True)


# -- the command line's words -------------------------------------------------------------


def _parts(text: str) -> tuple[Part, ...]:
    known = {part.name: part for part in PARTS}
    names = text.split(",")
    if unknown := [name for name in names if name not in known]:
        raise argparse.ArgumentTypeError(f"no part is called {unknown[0]!r}; there are {', '.join(known)}")
    return tuple(known[name] for name in names)


def _shapes(text: str) -> tuple[Shape, ...]:
    shapes = []
    for one in text.split(","):
        found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", one)
        if found is None:
            raise argparse.ArgumentTypeError(f"{one!r} is not connections x calls, like 4x64")
        shapes.append(Shape(int(found[1]), int(found[2])))
    return tuple(shapes)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


def _parts_help() -> str:
    width = max(len(part.name) for part in PARTS)
    return "parts:\n" + "\n".join(f"  {part.name:{width}}  {part.summary}" for part in PARTS)
