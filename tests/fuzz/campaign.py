"""A coverage-guided campaign over the targets, and what it came to.

    python -m tests.fuzz.campaign --cpu-minutes 20 --jobs 2 --output /tmp/rusd-fuzz
    python -m tests.fuzz.campaign --keep /tmp/rusd-fuzz     # the inputs worth keeping → tests/fuzz/corpus

Needs ``atheris`` (libFuzzer for Python) and ``coverage`` beside the test dependencies; neither is one of
them, since the test suite runs the same targets with hypothesis and the kept corpus.

Each target runs in a process of its own until it has used its CPU time.  A failing input does not end it:
each kind of failure (exception and place) is kept once, smallest input first.  An input that takes more
than :data:`HANG_SECONDS` of CPU counts as a hang.  Afterwards the whole corpus is run once more under
coverage.py, without atheris, for the branches reached.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Final

HANG_SECONDS: Final = 5.0
MAX_LENGTH: Final = {"frames": 2048, "headers": 1024, "calls": 1024, "requests": 600}
DEFAULT_MAX_LENGTH: Final = 512
TABLE_HEAD: Final = (
    "| target | CPU minutes | executions | branches reached | inputs | failures | hangs "
    "| slowest input | memory |\n"
    "|---|---|---|---|---|---|---|---|---|"
)
ROOT: Final = Path(__file__).resolve().parents[2]


class HangError(BaseException):
    """An input takes too long.  No Exception, so that nothing on the way takes it for one of its own."""


def main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("targets", nargs="*", help="which ones; all four by default")
    parser.add_argument("--cpu-minutes", type=float, default=20.0, help="for each target")
    parser.add_argument("--jobs", type=int, default=2, help="targets at a time")
    parser.add_argument("--output", type=Path, default=Path("/tmp/rusd-fuzz"))
    parser.add_argument("--keep", type=Path, metavar="OUTPUT", help="choose what to keep from a campaign")
    parser.add_argument("--fuzz", help=argparse.SUPPRESS)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    if options.fuzz:
        fuzz(options.fuzz, options.output / options.fuzz, options.cpu_minutes * 60)
    if options.measure:
        measure(options.measure, options.output / options.measure)
        return 0
    from tests.fuzz.targets import TARGETS

    names = options.targets or list(TARGETS)[:4]
    if unknown := set(names) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    if options.keep:
        for name in names:
            keep(name, options.keep / name)
        return 0
    return campaign(names, options)


# -- the whole ----------------------------------------------------------------------------------


def campaign(names: list[str], options: argparse.Namespace) -> int:
    """Run all, then print the table.  Fails if something was found."""
    _require()
    waiting = list(names)
    running: dict[str, subprocess.Popen[bytes]] = {}
    while waiting or running:
        while waiting and len(running) < options.jobs:
            name = waiting.pop(0)
            running[name] = _start(name, options)
        for name in [name for name, process in running.items() if process.poll() is not None]:
            del running[name]
            subprocess.run(_command("--measure", name, options), check=True)
            print(_row(options.output / name, name), flush=True)
        time.sleep(1)
    print()
    print(TABLE_HEAD)
    for name in names:
        print(_row(options.output / name, name))
    return any(_report(options.output / name)["failures"] for name in names)


def _require() -> None:
    try:
        import atheris  # type: ignore[import-untyped]  # noqa: F401
        import coverage  # noqa: F401
    except ImportError as error:
        raise SystemExit(f"a campaign needs {error.name}: pip install atheris coverage") from None


def _command(mode: str, name: str, options: argparse.Namespace) -> list[str]:
    minutes = str(options.cpu_minutes)
    arguments = [mode, name, "--output", str(options.output.resolve()), "--cpu-minutes", minutes]
    return [sys.executable, "-m", "tests.fuzz.campaign", *arguments]


def _start(name: str, options: argparse.Namespace) -> subprocess.Popen[bytes]:
    directory = options.output / name
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "log").open("wb") as log:
        return subprocess.Popen(_command("--fuzz", name, options), stdout=log, stderr=subprocess.STDOUT)


def _report(directory: Path) -> dict[str, Any]:
    path = directory / "report.json"
    if not path.exists():
        return {"failures": {"the process died: see its log": 1}}
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _row(directory: Path, name: str) -> str:
    report = _report(directory)
    if "executions" not in report:
        return f"| {name} | died, see {directory}/log |"
    covered, total = report["branches"]
    hangs = sum("HangError" in failure for failure in report["failures"])
    return (
        f"| {name} | {report['cpu_seconds'] / 60:.1f} | {report['executions']:,} "
        f"| {covered} of {total} ({100 * covered / total:.1f} %) | {report['inputs']:,} "
        f"| {len(report['failures']) - hangs} | {hangs} | {1000 * report['slowest_seconds']:.0f} ms "
        f"| {report['memory_mib']} MiB |"
    )


# -- one target -----------------------------------------------------------------------------------


def fuzz(name: str, directory: Path, cpu_seconds: float) -> None:
    """Let libFuzzer drive the target until the time is used up, then end the process."""
    import atheris

    with atheris.instrument_imports(include=["rusd"]):
        from tests.fuzz.targets import TARGETS, load_corpus
    from tests.fuzz.seeds import SEEDS, WORDS

    corpus, seeds = directory / "corpus", directory / "seeds"
    for folder in (corpus, seeds):
        folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate([*SEEDS[name](), *load_corpus(name)]):
        (seeds / f"{number:04}").write_bytes(data)
    words = directory / "words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in WORDS.get(name, (b"\0\0",))))
    watch = _Watch(TARGETS[name].run, directory, cpu_seconds)
    arguments = [
        sys.argv[0],
        str(corpus),
        str(seeds),
        f"-dict={words}",
        f"-max_len={MAX_LENGTH.get(name, DEFAULT_MAX_LENGTH)}",
        f"-artifact_prefix={directory}/",
        "-reload=0",
        "-timeout=600",
    ]
    atheris.Setup(arguments, watch)
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{octet:02x}" for octet in word)


class _Watch:
    """Runs the target, keeps time, and notes what goes wrong."""

    def __init__(self, run: Any, directory: Path, cpu_seconds: float) -> None:
        self._run = run
        self._directory = directory
        self._until = time.process_time() + cpu_seconds
        self._budget = cpu_seconds
        self._executions = 0
        self._slowest = (0.0, b"")
        self._failures: dict[str, tuple[int, int]] = {}  # → (times, size of the smallest)
        signal.signal(signal.SIGVTALRM, _hang)

    def __call__(self, data: bytes) -> None:
        self._executions += 1
        start = time.process_time()
        signal.setitimer(signal.ITIMER_VIRTUAL, HANG_SECONDS)
        try:
            self._run(data)
        except BaseException as error:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            self._note(error, data)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        now = time.process_time()
        if now - start > self._slowest[0]:
            self._slowest = (now - start, data)
        if now > self._until:
            self._finish()

    def _note(self, error: BaseException, data: bytes) -> None:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        kind = f"{type(error).__name__} at {where}: {error}"[:200]
        if isinstance(error, HangError):
            kind = "HangError"  # interrupted anywhere; once is enough
        times, smallest = self._failures.get(kind, (0, 1 << 30))
        self._failures[kind] = (times + 1, min(smallest, len(data)))
        if len(data) < smallest:
            number = list(self._failures).index(kind)
            path = self._directory / f"failure-{number}"
            path.with_suffix(".hex").write_text(data.hex() + "\n")
            path.with_suffix(".txt").write_text(kind + "\n\n" + "".join(traceback.format_exception(error)))

    def _finish(self) -> None:
        report = {
            "executions": self._executions,
            "cpu_seconds": self._budget,
            "slowest_seconds": self._slowest[0],
            "slowest": self._slowest[1].hex(),
            "failures": {kind: times for kind, (times, _) in self._failures.items()},
            "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }
        (self._directory / "report.json").write_text(json.dumps(report, indent=1))
        sys.stdout.flush()
        os._exit(0)  # libFuzzer has no other way out that keeps the process's own report


def _hang(_number: int, _frame: object) -> None:
    raise HangError(f"more than {HANG_SECONDS} seconds")


# -- what was reached --------------------------------------------------------------------------------


def _inputs(directory: Path) -> list[bytes]:
    paths = [path for folder in ("seeds", "corpus") for path in (directory / folder).glob("*")]
    return sorted({path.read_bytes() for path in paths}, key=lambda data: (len(data), data))


def _run_under_coverage(name: str, inputs: list[bytes], *, contexts: bool) -> Any:
    """A coverage object after all inputs; with ``contexts``, one for each input's number."""
    import coverage

    measured = coverage.Coverage(branch=True, data_file=None, source=["rusd"], config_file=False)
    measured.start()
    from tests.fuzz.targets import TARGETS

    signal.signal(signal.SIGVTALRM, _hang)
    for number, data in enumerate(inputs):
        if contexts:
            measured.switch_context(str(number))
        signal.setitimer(signal.ITIMER_VIRTUAL, 10 * HANG_SECONDS)
        with contextlib.suppress(Exception, HangError):  # what comes is in the report already
            TARGETS[name].run(data)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    measured.stop()
    return measured, TARGETS[name].measured


def measure(name: str, directory: Path) -> None:
    """Add the branches reached by the whole corpus to the report."""
    report = _report(directory)
    inputs = _inputs(directory)
    measured, patterns = _run_under_coverage(name, inputs, contexts=False)
    path = directory / "coverage.json"
    measured.json_report(outfile=str(path))
    files = {
        file: found["summary"] | {"missing": found["missing_branches"]}
        for file, found in json.loads(path.read_text())["files"].items()
        if any(fnmatch.fnmatch(file, pattern) for pattern in patterns)
    }
    covered = sum(found["covered_branches"] for found in files.values())
    report["branches"] = [covered, sum(found["num_branches"] for found in files.values())]
    report["inputs"] = len(inputs)
    report["files"] = {
        file: f"{found['covered_branches']} of {found['num_branches']}" for file, found in files.items()
    }
    report["missing"] = {file: found["missing"] for file, found in files.items() if found["missing"]}
    (directory / "report.json").write_text(json.dumps(report, indent=1))


def keep(name: str, directory: Path) -> None:
    """Choose inputs that together reach all the branches the corpus reaches, small ones first."""
    inputs = _inputs(directory)
    measured, patterns = _run_under_coverage(name, inputs, contexts=True)
    from tests.fuzz.targets import save_corpus

    data = measured.get_data()
    prefix = f"{ROOT}/"
    files = [
        file
        for file in data.measured_files()
        if any(fnmatch.fnmatch(file.removeprefix(prefix), pattern) for pattern in patterns)
    ]
    seen: set[tuple[str, tuple[int, int]]] = set()
    chosen = []
    for number, candidate in enumerate(inputs):
        data.set_query_context(str(number))
        arcs = {(file, arc) for file in files for arc in data.arcs(file) or ()}
        if not arcs <= seen:
            seen |= arcs
            chosen.append(candidate)
    save_corpus(name, chosen)
    print(f"{name}: {len(chosen)} of {len(inputs)} inputs, {sum(map(len, chosen))} bytes")


if __name__ == "__main__":
    raise SystemExit(main())
