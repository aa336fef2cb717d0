"""`bessemer verify`: the original twice, the project on one worker, then on several.

The first that is not what it should be decides the verdict. Each run begins in a fresh copy of the
research code's folder, and all runs have the same seed.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bessemer.config.project import Project
from bessemer.config.research_arguments import split
from bessemer.config.settings import Settings
from bessemer.conversion.sources import fingerprint_of
from bessemer.proof.comparison import (
    Verdict,
    judge_one,
    judge_original,
    judge_several,
    rounding_may_explain,
)
from bessemer.proof.converted import Way, run_converted
from bessemer.proof.failures import failed_at
from bessemer.proof.original import COPY_FOLDER, Original, Taped, original_of, run_original
from bessemer.proof.tapes import Tape
from bessemer.utils.provenance import provenance

REPORT_FILE = "verification.json"
LOGS_FOLDER = "verification"
# Floats that are added in another order drift apart; so many steps show what is wrong before that.
SEVERAL_STEPS = 20
_USERS_MISTAKE = 2


@dataclass(frozen=True)
class Wish:
    """What is asked of a verification.

    Attributes:
        research_arguments: the research code's own command line.
        folder: where the research code runs; None: where it is.
        steps: after which every run is ended (count); 0: it runs to its end.
        num_workers: of the run that is compared with one worker (count); 1: there is none.
        limit_s: how long one run may take (seconds).
        seed: of all generators before the program starts.
    """

    research_arguments: str = ""
    folder: Path | None = None
    steps: int = 0
    num_workers: int = 2
    limit_s: float = 600.0
    seed: int = 0


def verify(project: Project, settings: Settings, wish: Wish, tell: Callable[[str], None]) -> Verdict:
    """Run research code and project, and compare them.

    Args:
        project: a converted project.
        settings: its settings, with the research arguments.
        wish: what is asked.
        tell: is given what is being run.

    Raises:
        ProjectError: the project was not converted, or its research code is gone.
        UserError: something that the user gave cannot be used.
    """
    arguments = split(wish.research_arguments)
    original = original_of(project, arguments, wish.folder)
    with tempfile.TemporaryDirectory(prefix="bessemer-verify-") as work:
        found = _Verification(project, settings, wish, original, Path(work), tell).perform()
    return replace(found, modernised=original.modernised)


class _Verification:
    def __init__(
        self,
        project: Project,
        settings: Settings,
        wish: Wish,
        original: Original,
        work: Path,
        tell: Callable[[str], None],
    ) -> None:
        self._project, self._settings, self._wish = project, settings, wish
        self._original, self._work, self._tell = original, work, tell
        self._logs = project.root / LOGS_FOLDER

    def perform(self) -> Verdict:
        first = self._run_original("original, first run", "original-1")
        if failure := self._original_failed(first):
            return failure
        second = self._run_original("original, second run", "original-2")
        if failure := self._original_failed(second):
            return replace(failure, reason=f"the second of two runs: {failure.reason}")
        if verdict := judge_original(first.tapes, second.tapes):
            return verdict
        one = self._train("project, 1 worker, research order", "converted", Way("research"), self._wish.steps)
        verdict = _judged(one, lambda: judge_one(first.tapes[0], one.tapes), first.tapes[0])
        if verdict.verdict != "equal":
            return verdict
        return self._with_several(verdict)

    def _with_several(self, one: Verdict) -> Verdict:
        """Compare several workers with one, where the project is one for several."""
        num_workers = self._wish.num_workers
        if num_workers == 1:
            return one
        if self._settings.scaling.max_workers == 1:
            reason = f"{one.reason}; its settings ask for 1 worker, so several were not compared"
            return replace(one, reason=reason)
        steps = self._wish.steps or SEVERAL_STEPS
        alone = Way("canonical", is_even=True)
        base = self._train("project, 1 worker, canonical order", "canonical-1", alone, steps)
        if failure := _failed(base, "the project on one worker in canonical order"):
            return joined_verdict(one, failure)
        many = self._train(
            f"project, {num_workers} workers, canonical order",
            f"canonical-{num_workers}",
            replace(alone, num_workers=num_workers),
            steps,
        )
        if failure := _failed(many, f"the project on {num_workers} workers"):
            return joined_verdict(one, failure)
        reduction = self._settings.scaling.loss_reduction
        found = judge_several(base.tapes, many.tapes, num_workers, reduction)
        if rounding_may_explain(found, base.tapes, many.tapes, reduction):
            way = replace(alone, is_shaken=True)
            shaken = self._train("project, 1 worker, last bits changed", "shaken", way, steps)
            if failure := _failed(shaken, "the project with its last bits changed"):
                return joined_verdict(one, failure)
            found = judge_several(base.tapes, many.tapes, num_workers, reduction, shaken.tapes)
        return joined_verdict(one, found)

    def _run_original(self, what: str, name: str) -> Taped:
        self._tell(what)
        wish, log_file = self._wish, self._logs / f"{name}.log"
        return run_original(
            self._original, self._work, name, log_file,
            seed=wish.seed, steps=wish.steps, limit_s=wish.limit_s,
        )  # fmt: skip

    def _original_failed(self, run: Taped) -> Verdict | None:
        if run.is_cut or run.ended.status == 0:
            return None
        reason = f"the original program fails: {run.ended}"
        if run.ended.status is None:
            reason += "\nto do: a longer --limit-s, or --steps N to end it after N steps"
        elif place := failed_at(self._original, self._work / COPY_FOLDER, run.ended.printed):
            reason = f"the original program fails at {place}\n{run.ended}"
        return Verdict("original-fails", reason, 0)

    def _train(self, what: str, name: str, way: Way, steps: int) -> Taped:
        self._tell(what)
        wish, log_file = self._wish, self._logs / f"{name}.log"
        return run_converted(
            self._project, self._original.ground, way, self._work, name, log_file,
            seed=wish.seed, steps=steps, limit_s=wish.limit_s, research_arguments=wish.research_arguments,
        )  # fmt: skip


def joined_verdict(one: Verdict, several: Verdict) -> Verdict:
    """Join the verdicts of one worker, which is equal, and of several."""
    compared = (*one.compared, *several.compared)
    if several.verdict == "equal":
        return replace(
            several,
            reason=f"{one.reason}; {several.reason}",
            steps_compared=one.steps_compared,
            compared=compared,
        )
    if several.verdict == "not-comparable":
        # What was compared is equal; the reason and the number of workers say what was not.
        return replace(one, reason=f"{one.reason}; not compared on several: {several.reason}")
    return replace(several, reason=f"{one.reason}, but {several.reason}", compared=compared)


def _failed(run: Taped, who: str) -> Verdict | None:
    """Say so if a run of the project failed before anything can be compared."""
    if run.is_cut or run.ended.status == 0:
        return None
    if run.tapes and run.ended.status not in (None, _USERS_MISTAKE):
        return Verdict("different", f"{who} fails: {run.ended}")
    return Verdict("not-comparable", f"{who} fails: {run.ended}")


def _judged(run: Taped, judge: Callable[[], Verdict], original: Tape) -> Verdict:
    """Judge the project on one worker; a failure is reported with the first difference before it."""
    failure = _failed(run, "the project")
    if failure is None:
        return judge()
    if len(run.tapes) == 1:
        found = judge()
        if found.verdict == "different":
            return replace(found, reason=f"{found.reason}; {failure.reason}")
        # Every step agrees, and then it fails where the original does not.
        return replace(found, verdict="different", reason=failure.reason)
    return failure


def save_report(project: Project, wish: Wish, verdict: Verdict) -> Path:
    """Keep a verdict in the project's folder, with what it is about; return the file."""
    content = {
        **to_json(verdict),
        "research_arguments": wish.research_arguments,
        "steps_asked": wish.steps,
        "seed": wish.seed,
        "source_sha256": project.source_sha256,
        "project_sha256": project_fingerprint(project),
        "code_sha256": code_fingerprint(project),
        "tags": provenance(project.root, project.source_sha256),
        "verified_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    file = project.root / REPORT_FILE
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return file


def to_json(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as JSON values; numbers that JSON does not know become text."""
    values = asdict(verdict)
    first = values["first_difference"]
    for holder, name in [(values, "max_difference"), (first, "original"), (first, "converted")]:
        if holder is not None and isinstance(holder[name], float):
            with contextlib.suppress(ValueError):
                json.dumps(holder[name], allow_nan=False)
                continue
            holder[name] = str(holder[name])
    return values


def project_fingerprint(project: Project) -> str:
    """Return the SHA-256 of what a project computes with: its package and its `settings.toml`."""
    settings = [project.settings_file] if project.settings_file else []
    return _fingerprint(project, [*_package_files(project), *settings])


def code_fingerprint(project: Project) -> str:
    """Return the SHA-256 of a project's package."""
    return _fingerprint(project, _package_files(project))


def _package_files(project: Project) -> list[Path]:
    return [file for file in sorted(project.package_dir.rglob("*.py")) if file.is_file()]


def _fingerprint(project: Project, files: list[Path]) -> str:
    return fingerprint_of([file.relative_to(project.root).as_posix() for file in files], project.root)
