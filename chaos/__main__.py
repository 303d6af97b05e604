"""The command line: ``python -m chaos --help``.

Exit status 0: run and nothing found.  1: a promise was broken.  2: there was nothing to judge.
"""

from __future__ import annotations

import argparse
import random
import shlex
import shutil
import sys
import tempfile
import traceback
from collections.abc import Collection, Sequence
from pathlib import Path

import trio

from chaos import history, report
from chaos.checkers.judge import Verdict, judge
from chaos.faults import FAULTS
from chaos.run import MEMBERS, NotStartedError, Settings, run
from chaos.server import NoServerError, find_server
from chaos.workloads import WORKLOADS

PASSED, BROKEN, NOTHING = 0, 1, 2
SHOWN = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line says; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["check"]:
        return _check(given[1:])
    return _run(given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m chaos",
        description="Start a cluster, load it, break it, and check what it answered.",
        epilog="python -m chaos check FILE checks the history of an earlier run again.",
    )
    parser.add_argument("--nodes", type=int, default=3, help="members of the cluster (default: 3)")
    parser.add_argument(
        "--seed", type=int, help="seed of the schedule and of all parameters (default: a random one)"
    )
    parser.add_argument("--duration", type=float, default=60.0, help="seconds under load (default: 60)")
    parser.add_argument(
        "--faults", default="all", help="names, comma separated; all; none; all,-kill: all but kill"
    )
    parser.add_argument("--workloads", default="all", help="names, comma separated, as with --faults")
    parser.add_argument("--server", default="rusd", help="rusd, etcd, or the path of an etcd (default: rusd)")
    parser.add_argument("--rate", type=float, default=60.0, help="operations a second, about (default: 60)")
    parser.add_argument(
        "--report", type=Path, help="folder for report, history, data and logs (default: a new one)"
    )
    parser.add_argument(
        "--flag", action="append", default=[], help="one more flag for each member; may be repeated"
    )
    parser.add_argument(
        "--stale-reads", action="store_true", help="a proxy serves stale reads; the verdict has to be FAIL"
    )
    parser.add_argument("--list-faults", action="store_true", help="say what faults and workloads there are")
    parser.add_argument(
        "--show-schedule", action="store_true", help="print the schedule of the seed, run nothing"
    )
    return parser


def _run(given: Sequence[str]) -> int:
    parser = _parser()
    options = parser.parse_args(given)
    if options.list_faults:
        return _list()
    if options.nodes < 1 or options.duration <= 0 or options.rate <= 0:
        parser.error("--nodes, --duration and --rate must be positive")
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    folder = options.report or Path(tempfile.mkdtemp(prefix="chaos-"))
    try:
        faults = [FAULTS[name] for name in choose(options.faults, FAULTS)]
        workloads = [WORKLOADS[name] for name in choose(options.workloads, WORKLOADS)]
        settings = Settings(
            server=find_server(options.server),
            nodes=options.nodes,
            seed=seed,
            duration=options.duration,
            faults=faults,
            workloads=workloads,
            folder=folder,
            rate=options.rate,
            flags=options.flag,
            stale_reads=options.stale_reads,
            command=replay_command(given, seed),
        )
    except (ValueError, NoServerError) as error:
        parser.error(str(error))
    if options.show_schedule:
        for plan in settings.schedule:
            print(plan)
        return PASSED
    happened = _play(settings)
    if happened is None:
        return NOTHING
    verdict = judge(happened)
    if verdict.passed:
        for data in folder.glob(f"{MEMBERS}/*/data"):
            shutil.rmtree(data, ignore_errors=True)  # logs stay; data is only of use after a failure
    return _tell(happened, verdict, folder, settings.command)


def _play(settings: Settings) -> history.History | None:
    """Run; None, and a word on standard error, if that left nothing to judge.

    The tool's own mistakes must not look like the server's: status 1 means a broken promise.
    """
    try:
        return trio.run(run, settings)
    except NotStartedError as error:
        print(f"NOT RUN: {error}", file=sys.stderr)
    except (Exception, BaseExceptionGroup, KeyboardInterrupt) as error:
        if not _is_interrupt(error):
            traceback.print_exc()
        print(f"NOT RUN: {'interrupted' if _is_interrupt(error) else error}", file=sys.stderr)
    return None


def _is_interrupt(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(KeyboardInterrupt) is not None
    return isinstance(error, KeyboardInterrupt)


def _check(given: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos check", description="Check a recorded history.")
    parser.add_argument("file", type=Path, help="history.jsonl of a run")
    options = parser.parse_args(given)
    try:
        with options.file.open() as lines:
            happened = history.read(lines)
    except (OSError, history.FormatError) as error:
        print(f"NOT CHECKED: {error}", file=sys.stderr)
        return NOTHING
    return _tell(happened, judge(happened), options.file.parent, "")


def _tell(happened: history.History, verdict: Verdict, folder: Path, command: str) -> int:
    """Print the verdict, write the page, and return the exit status."""
    page = folder / "report.html"
    page.write_text(report.render(happened, verdict, command))
    for violation in verdict.violations[:SHOWN]:
        at = "" if violation.at is None else f" at {violation.at:.3f} s"
        print(f"  {violation.rule}{at}: {violation.text}")
    if len(verdict.violations) > SHOWN:
        print(f"  … and {len(verdict.violations) - SHOWN} more")
    for trouble in verdict.troubles:
        print(f"  noticed: {trouble}")
    print(f"  report:  {page}")
    if command:
        print(f"  again:   {command}")
    print(verdict.line())
    return PASSED if verdict.passed else BROKEN


def choose(text: str, known: Collection[str]) -> list[str]:
    """The names that ``text`` chooses from ``known``: ``all``, ``none``, names, and ``-name`` to leave one
    out.

    Raises :class:`ValueError` for a name that isn't known.
    """
    chosen: list[str] = []
    for word in (part.strip() for part in text.split(",")):
        name = word.removeprefix("-")
        if word == "all":
            chosen += [one for one in known if one not in chosen]
        elif word in ("none", ""):
            continue
        elif name not in known:
            raise ValueError(f"{name!r} is none of {', '.join(known)}")
        elif word.startswith("-"):
            chosen = [one for one in chosen if one != name]
        elif name not in chosen:
            chosen.append(name)
    return chosen


def _list() -> int:
    print("faults:")
    for fault in FAULTS.values():
        print(f"  {fault.name:12} {fault.summary}")
    print("workloads:")
    for workload in WORKLOADS.values():
        print(f"  {workload.name:12} {workload.summary}")
    return PASSED


def replay_command(given: Sequence[str], seed: int) -> str:
    """The command line that plays the same schedule again."""
    words = ["python", "-m", "chaos", *given]
    if not any(word == "--seed" or word.startswith("--seed=") for word in given):
        words.append(f"--seed={seed}")
    return shlex.join(words)


if __name__ == "__main__":
    sys.exit(main())
