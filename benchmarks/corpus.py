"""What becomes of programs that nobody here wrote: converted, verified, trained, killed and gone on with.

    python benchmarks/corpus.py DIR [--programs FILE] [--steps 12] [--only NAME ...] [--out corpus.json]

DIR holds a folder, script or notebook a program. A file of programs, by default `DIR/corpus.toml`, may say
how each is run, in a table of its name:

    [mnist]
    source = "mnist"                    # below DIR, or the clone; by default the name, or all of the clone
    entry = "main.py"                   # of several scripts, the one that is run
    arguments = "--epochs 2"            # the research code's own command line
    environment = { NAME = "value" }
    on_path = ["."]                     # folders for PYTHONPATH, relative to where it is run
    every_steps = 1                     # how often a checkpoint is taken
    verify = true                       # false where the research code cannot run on this machine
    repository = "https://..."          # cloned to DIR where it is not there
    commit = "..."

Each program is converted into a temporary folder, verified there, and trained to its end: its driver is
killed with SIGKILL once there is a checkpoint, and the run is gone on with. A table is printed; `--out`
writes it as JSON. The exit status is 1 if anything failed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.progress import track

BESSEMER = [sys.executable, "-m", "bessemer"]
LIMIT_S = 900.0


@dataclass
class Program:
    """How a program is run."""

    name: str
    source: Path
    entry: str = ""
    arguments: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    on_path: list[str] = field(default_factory=list)
    every_steps: int = 1
    verify: bool = True

    @property
    def folder(self) -> Path:
        """Where the research code is run."""
        return self.source if self.source.is_dir() else self.source.parent


@dataclass
class Outcome:
    """What became of a program; each text is empty where nothing was to be said."""

    name: str
    converted: bool = False
    conversion_s: float = 0.0
    verdict: str = ""
    steps: int = 0
    workers: int = 0
    max_difference: float | None = None
    trained: bool = False
    killed: bool = False
    metrics: tuple[str, ...] = ()
    trouble: str = ""

    @property
    def is_good(self) -> bool:
        """Whether all that was tried went well."""
        return self.converted and self.verdict in ("equal", "not run") and self.trained and bool(self.metrics)


def programs_in(folder: Path, table: Path) -> list[Program]:
    """Return the programs of a folder, as a table says, or else everything in it.

    Raises:
        SystemExit: the table names something that is not there.
    """
    if not table.is_file():
        found = [x for x in sorted(folder.iterdir()) if x.is_dir() or x.suffix in (".py", ".ipynb")]
        return [Program(x.stem, x) for x in found if not x.name.startswith(".")]
    programs = []
    for name, said in tomllib.loads(table.read_text(encoding="utf-8")).items():
        repository, commit = said.pop("repository", ""), said.pop("commit", "")
        source = folder / said.pop("source", name)
        if repository:
            clone = cloned(repository, commit, folder)
            source = clone / source.relative_to(folder) if source != folder / name else clone
        if not source.exists():
            raise SystemExit(f"error: {table}: [{name}]: {source} is not there")
        programs.append(Program(name, source, **said))
    return programs


def cloned(repository: str, commit: str, folder: Path) -> Path:
    """Return a repository's folder at a commit; it is cloned where it is not there."""
    clone = folder / repository.rpartition("/")[2]
    if not clone.exists():
        subprocess.run(["git", "clone", "--quiet", repository, str(clone)], check=True, timeout=LIMIT_S)
        subprocess.run(["git", "-C", str(clone), "checkout", "--quiet", commit], check=True, timeout=LIMIT_S)
    return clone


def tried(program: Program, steps: int, work: Path) -> Outcome:
    """Convert, verify and train one program below a temporary folder."""
    outcome = Outcome(program.name)
    project = work / "project"
    environment = {**os.environ, **program.environment, "RAY_ADDRESS": "local", "RAY_AUTH_MODE": "disabled"}
    path = [str((program.folder / x).resolve()) for x in program.on_path]
    environment["PYTHONPATH"] = os.pathsep.join([*path, *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [*BESSEMER, "convert", str(program.source), "--out", str(project)]
    command += ["--entry", program.entry] if program.entry else []
    began = time.monotonic()
    done = run(command, work, environment)
    outcome.conversion_s = round(time.monotonic() - began, 2)
    outcome.converted = done.returncode == 0
    if not outcome.converted:
        outcome.trouble = last_lines(done)
        return outcome
    if program.verify:
        verified(program, outcome, project, steps, environment)
    else:
        outcome.verdict = "not run"
    trained(program, outcome, project, work, environment)
    return outcome


def verified(
    program: Program, outcome: Outcome, project: Path, steps: int, environment: dict[str, str]
) -> None:
    """Have `bessemer verify` compare a project with its research code."""
    command = [*BESSEMER, "verify", str(project), "--cwd", str(program.folder)]
    command += ["--json", "--steps", str(steps)]
    command += ["--research-args", program.arguments] if program.arguments else []
    done = run(command, project, environment)
    try:
        found = json.loads(done.stdout)
    except json.JSONDecodeError:
        outcome.verdict, outcome.trouble = "failed", last_lines(done)
        return
    outcome.verdict, outcome.steps = found["verdict"], found["steps_compared"]
    outcome.workers, outcome.max_difference = found["workers"], found["max_difference"]
    if outcome.verdict != "equal":
        outcome.trouble = found["reason"].splitlines()[0]


def trained(
    program: Program, outcome: Outcome, project: Path, work: Path, environment: dict[str, str]
) -> None:
    """Train a project in a copy of the research code's folder, with a kill once it has a checkpoint."""
    folder = work / "beside" / program.folder.name
    shutil.copytree(program.folder, folder, symlinks=True, ignore=shutil.ignore_patterns("runs", ".git"))
    for other in program.folder.parent.iterdir():
        # What it reads as `../data` is there, but not copied.
        if other != program.folder:
            (folder.parent / other.name).symlink_to(other)
    base = [*BESSEMER, "train", "--project", str(project)]
    given = ["--research-args", program.arguments] if program.arguments else []
    settings = [
        "--checkpoint.every-steps",
        str(program.every_steps),
        "--checkpoint.storage-path",
        str(work / "runs"),
    ]
    settings += ["--cluster.address", "local"]
    with (work / "train.log").open("w+") as log:
        first = subprocess.Popen(
            [*base, *given, *settings],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        outcome.killed = killed_at_checkpoint(first, work / "runs")
    done = run([*base, *given, *settings, *(["--resume"] if outcome.killed else [])], folder, environment)
    if not outcome.killed:
        # It was over before its first checkpoint could be seen; the second run says whether it trains.
        outcome.trouble = outcome.trouble or "it was over before it could be killed"
    outcome.trained = done.returncode == 0
    if not outcome.trained:
        outcome.trouble = last_lines(done)
    outcome.metrics = recorded(work / "runs" / "mlflow.db")


def recorded(store: Path) -> tuple[str, ...]:
    """Return the names of what the research code's metrics became in MLflow."""
    if not store.is_file():
        return ()
    with contextlib.closing(sqlite3.connect(store)) as database:
        names = {name for (name,) in database.execute("SELECT DISTINCT key FROM metrics")}
    return tuple(sorted(x for x in names if not x.startswith(("epoch/", "system/", "usage/"))))


def killed_at_checkpoint(training: subprocess.Popen[bytes], runs: Path) -> bool:
    """Kill a driver once there is a checkpoint; tell whether it was still alive then."""
    end = time.monotonic() + LIMIT_S
    while training.poll() is None and time.monotonic() < end:
        if any(runs.glob("*/*/checkpoints/step-*/manifest.json")):
            break
        time.sleep(0.05)
    was_alive = training.poll() is None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(training.pid, signal.SIGKILL)
    training.wait()
    return was_alive


def run(command: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, within `LIMIT_S`."""
    try:
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"not done within {LIMIT_S:.0f} s")


def last_lines(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a command said last, in one line."""
    lines = [x.strip() for x in (done.stderr + done.stdout).splitlines() if x.strip()]
    errors = [x for x in lines if x.startswith("error:")]
    return (errors or lines[-1:] or [f"exit status {done.returncode}"])[0][:200]


def table(outcomes: list[Outcome]) -> str:
    """Return outcomes as a Markdown table."""
    heads = ["program", "converts", "verified", "steps", "workers, largest difference"]
    heads += ["killed and gone on with", "metrics"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for x in outcomes:
        if not x.converted:
            lines.append(f"| {x.name} | **no**: {_plain(x.trouble)} | | | | | |")
            continue
        far = "" if x.max_difference is None else f"{x.workers}, {x.max_difference:.2g}"
        is_verified = x.verdict in ("equal", "not run")
        verdict = x.verdict if is_verified else f"**{x.verdict}**: {_plain(x.trouble)}"
        why = f": {_plain(x.trouble)}" if is_verified else ""
        went = ("yes" if x.killed else "trained, not killed") if x.trained else f"**no**{why}"
        converts = f"{x.conversion_s:.1f} s"
        shown = ", ".join(x.metrics) or "**none**"
        lines.append(f"| {x.name} | {converts} | {verdict} | {x.steps} | {far} | {went} | {shown} |")
    return "\n".join(lines)


def _plain(trouble: str) -> str:
    """Return what went wrong without the temporary folder in which it did."""
    return re.sub(r"\S*bessemer-corpus-[^/]+/", "", trouble.removeprefix("error: ")).replace("|", "\\|")


def main() -> int:
    """Run the command."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--programs", type=Path, help="by default corpus.toml in the folder")
    parser.add_argument("--steps", type=int, default=12, help="steps that are compared; 0: the whole run")
    parser.add_argument("--only", nargs="*", default=[], help="names of programs")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    folder = given.folder.resolve()
    known = programs_in(folder, given.programs or folder / "corpus.toml")
    programs = [x for x in known if not given.only or x.name in given.only]
    if not programs:
        raise SystemExit(f"error: {given.folder} has no such program")
    outcomes = []
    for program in track(programs, "programs", disable=not sys.stderr.isatty()):
        with tempfile.TemporaryDirectory(prefix="bessemer-corpus-", ignore_cleanup_errors=True) as work:
            outcomes.append(tried(program, given.steps, Path(work)))
        if given.out is not None:
            text = json.dumps([asdict(x) for x in outcomes], indent=2)
            given.out.write_text(f"{text}\n", encoding="utf-8")
    print(table(outcomes))
    return 0 if all(x.is_good for x in outcomes) else 1


if __name__ == "__main__":
    raise SystemExit(main())
