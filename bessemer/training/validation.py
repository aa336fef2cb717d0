"""Validates all data of a project: what was prepared, its sources, and the data sets that its program makes.

The report is left in `data.folder/validation/`, with the verdict that `train` asks for, and goes to MLflow.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.utils.data import RandomSampler

from bessemer.config.loading import fields_of, to_toml, value_at
from bessemer.config.project import Project
from bessemer.config.settings import Settings
from bessemer.data.files import put_file
from bessemer.data.loaders import Loader
from bessemer.data.prepared.manifest import Manifest, read_manifest
from bessemer.data.sources.base import Source
from bessemer.data.sources.opening import open_source
from bessemer.data.validation.between import compare, training_of, unknown_columns
from bessemer.data.validation.checks import CATALOGUE, READABLE
from bessemer.data.validation.drift import drift
from bessemer.data.validation.findings import DatasetSummary, Finding, Report
from bessemer.data.validation.judging import judge
from bessemer.data.validation.likeness import MAX_COMPARED
from bessemer.data.validation.page import page_of
from bessemer.data.validation.prepared import Tell, examine_prepared, prepared_folders
from bessemer.data.validation.samples import examine_samples
from bessemer.data.validation.sources import examine_source
from bessemer.data.validation.tally import DatasetTally, Examined
from bessemer.data.validation.verdict import (
    REPORT_FILE,
    REPORT_PAGE,
    VALIDATION_FOLDER,
    VERDICT_FILE,
    Verdict,
    read_verdicts,
    state_of,
    verdict_of,
    with_verdict,
)
from bessemer.errors import BessemerError, NoLoaderError, ProjectError
from bessemer.tracking import log_validation
from bessemer.training.inspection import loaders_of
from bessemer.training.storage import artifacts_of, storage_folder, tracking_of

# Changes when the checks find something else in the same data.
_VERSION = 1
# The folder of the stored samples of a program's n-th loader: package.n-class.
_STORED = re.compile(r"(\w+)\.\d+-")


@dataclass(frozen=True)
class Wish:
    """What is to be validated.

    Attributes:
        max_samples: most samples of a program's data set that are looked at (count).
        manifest: a folder of prepared data that alone is looked at; None: all data of the project.
        reference: a folder of earlier prepared data, or its manifest; None: none.
        page: where the HTML page is written to as well; None: nowhere.
    """

    max_samples: int = 10_000
    manifest: Path | None = None
    reference: Path | None = None
    page: Path | None = None


def validate_project(
    project: Project, settings: Settings, wish: Wish, tell: Tell = lambda text: None
) -> Report:
    """Look at the data of a project, and leave report and verdict.

    Args:
        project: whose data they are.
        settings: of the project.
        wish: what is to be validated.
        tell: told what is looked at now.

    Raises:
        ProjectError: there is nothing to look at, or the program fails.
        DataError: the reference cannot be read, or the report cannot be written.
    """
    began, now = time.monotonic(), time.time()
    search_path = [str(project.root)]
    # What data were before they were looked at: what changes meanwhile is not vouched for.
    state = state_of(settings, search_path, [project.package_dir])
    reference = _read_reference(wish.reference) if wish.reference else None
    datasets, findings, notes = _looked_at(project, settings, wish, reference, tell)
    report = Report(
        project=project.name,
        time=now,
        duration_s=time.monotonic() - began,
        datasets=tuple(datasets),
        findings=tuple(sorted(findings, key=lambda finding: finding.severity)),
        notes=tuple(dict.fromkeys(notes)),
    )
    page, place = page_of(report), report_page(settings)
    files = [put_text(place, page), put_text(place.with_name(REPORT_FILE), as_json(report))]
    if wish.page is not None:
        put_text(wish.page, page)
    if wish.manifest is None:
        verdict = verdict_of(report, checks_hash(settings, wish), state)
        known = with_verdict(Path(settings.data.folder), project.name, verdict)
        put_text(place.with_name(VERDICT_FILE), known)
    tell("writing to MLflow")
    remark = _record(project, settings, report, files)
    return report.model_copy(update={"notes": (*report.notes, remark)}) if remark else report


def unchanged(project: Project, settings: Settings, wish: Wish) -> Verdict | None:
    """Return the last verdict if data, code and checks are what they were then; else None."""
    verdict = read_verdicts(Path(settings.data.folder)).projects.get(project.name)
    if verdict is None or wish.manifest is not None or verdict.checks != checks_hash(settings, wish):
        return None
    same = verdict.data == state_of(settings, [str(project.root)], [project.package_dir])
    return verdict if same else None


def report_page(settings: Settings) -> Path:
    """Return where the HTML report is."""
    return Path(settings.data.folder) / VALIDATION_FOLDER / REPORT_PAGE


def as_json(report: Report) -> str:
    """Return a report as JSON, without its pictures."""
    plain = report.model_dump(mode="json", exclude={"datasets": {"__all__": {"pictures"}}})
    counts = {"num_errors": report.num_errors, "num_warnings": report.num_warnings}
    return json.dumps({**counts, **plain}, indent=1) + "\n"


def checks_hash(settings: Settings, wish: Wish) -> str:
    """Hash what is asked of the data: checks, their settings, the project's own settings, the reference."""
    own = set(type(settings).model_fields) - set(Settings.model_fields)
    asked: dict[str, Any] = {
        "checks": [check.name for check in CATALOGUE],
        "version": _VERSION,
        "settings": settings.checks.model_dump(mode="json"),
        "sources": {name: source.model_dump(mode="json") for name, source in settings.data.sources.items()},
        "own": {dotted: repr(value_at(settings, dotted)) for dotted, _ in fields_of(type(settings))
                if dotted.split(".")[0] in own},
        "seed": settings.data.seed,
        "max_samples": wish.max_samples,
        "reference": str(wish.reference or ""),
    }  # fmt: skip
    if wish.reference is not None:
        asked["reference_hash"] = hashlib.sha256(_reference_file(wish.reference)).hexdigest()
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def put_text(file: Path, text: str) -> Path:
    """Write a text file in one step; its folder is made.

    Raises:
        DataError: it cannot be written.
    """
    put_file(file, text.encode(errors="replace"))
    return file


def _looked_at(
    project: Project, settings: Settings, wish: Wish, reference: Manifest | None, tell: Tell
) -> tuple[list[DatasetSummary], list[Finding], list[str]]:
    """Look at everything and judge it; what that takes of memory is free again afterwards."""
    groups = _examined(project, settings, wish, tell)
    tallies = [tally for group in groups for tally in group.tallies]
    findings = [finding for group in groups for finding in group.findings]
    for group in groups:
        tell("comparing data sets")
        findings += _judged(group.tallies, settings, reference)
    findings += unknown_columns(tallies, settings.checks)
    notes = [note for group in groups for note in group.notes]
    notes += [
        f"near duplicates were looked for in the first {MAX_COMPARED:,} samples of {tally.name}"
        for tally in tallies
        if tally.likenesses is not None and tally.likenesses.num_left_out
    ]
    return [tally.summary() for tally in tallies], findings, notes


def _examined(project: Project, settings: Settings, wish: Wish, tell: Tell) -> Sequence[Examined]:
    """Look at everything; what belongs together, so that a sample must not be in two of it, in one value."""
    if wish.manifest is not None:
        return [examine_prepared(wish.manifest, settings.checks, tell)]
    folders = prepared_folders(Path(settings.data.folder))
    groups = _examined_prepared(folders, settings, tell)
    sources = _examined_sources(settings, wish, [str(project.root)], folders, tell)
    if sources.tallies or sources.findings:
        groups.append(sources)
    try:
        program = _examined_program(project, settings, wish, tell)
    except ProjectError as error:
        if not any(group.tallies or group.findings for group in groups):
            raise
        program = Examined(notes=[f"the program's own data sets were not looked at: {error.found}"])
    return [*groups, program]


def _examined_prepared(folders: Sequence[Path], settings: Settings, tell: Tell) -> list[Examined]:
    """Look at prepared data; the stored samples of one program's loaders are its splits."""
    groups: dict[str, Examined] = {}
    for folder in folders:
        stored = _STORED.match(folder.name)
        group = groups.setdefault(stored.group(1) if stored else str(folder), Examined())
        found = examine_prepared(folder, settings.checks, tell)
        group.tallies.extend(found.tallies)
        group.findings.extend(found.findings)
    return list(groups.values())


def _examined_sources(
    settings: Settings, wish: Wish, search_path: Sequence[str], prepared: Sequence[Path], tell: Tell
) -> Examined:
    found = Examined()
    known = {folder.resolve() for folder in prepared}
    for name, source in settings.data.sources.items():
        if source.format == "prepared":
            folder = Path(source.path).resolve()
            if folder not in known:
                known.add(folder)
                more = examine_prepared(folder, settings.checks, tell)
                found.tallies.extend(more.tallies)
                found.findings.extend(more.findings)
            continue
        tell(f"opening {name}")
        try:
            opened = open_source(settings, name, search_path)
        except BessemerError as error:
            found.findings.append(READABLE.found(name, error.found))
            continue
        found.tallies.append(
            examine_source(name, opened, source.format, settings.checks, wish.max_samples, tell)
        )
    return found


def _examined_program(project: Project, settings: Settings, wish: Wish, tell: Tell) -> Examined:
    """Look at the data sets of the loaders that the program makes; the shuffled one comes first."""
    tell("making the program's loaders")
    with tempfile.TemporaryDirectory() as folder:
        loaders = loaders_of(project.entry, settings, [str(project.root)], Path(folder))
        own = {id(loader.dataset): loader for loader in reversed(loaders) if not _is_native(loader.dataset)}
        if not loaders:
            raise NoLoaderError(
                "the program makes no loader before its outer loop",
                expected="run.loader(...) calls",
                todo="nothing can be validated here; check the data in the program itself",
            )
        found = Examined()
        for loader in reversed(own.values()):
            name = _name(loader, [tally.name for tally in found.tallies])
            tell(f"reading {name}")
            found.tallies.append(examine_samples(loader.dataset, name, wish.max_samples, settings.checks))
    return found


def _is_native(dataset: Any) -> bool:
    """Whether a data set is a source, which is looked at as such."""
    return isinstance(dataset, Source)


def _name(loader: Loader[Any], taken: Sequence[str]) -> str:
    role = "shuffled" if isinstance(loader.sampler, RandomSampler) else "in order"
    name = f"{type(loader.dataset).__name__} ({role})"
    number = sum(other.startswith(name) for other in taken)
    return f"{name} {number + 1}" if number else name


def _judged(tallies: Sequence[DatasetTally], settings: Settings, reference: Manifest | None) -> list[Finding]:
    train = training_of(tallies)
    findings: list[Finding] = []
    for tally in tallies:
        findings += judge(tally, settings.checks, is_training=tally is train)
        if reference is not None and tally.origin == "prepared":
            splits = list(reference.splits)
            split = tally.name.rpartition("/")[2]
            split = split if split in splits or len(splits) > 1 else splits[0]
            findings += drift(tally, split, reference, settings.checks.max_drift)
    for tally in tallies:
        if train is not None and tally is not train:
            findings += compare(train, tally)
    return findings


def _read_reference(reference: Path) -> Manifest:
    return read_manifest(reference if reference.is_dir() else reference.parent)


def _reference_file(reference: Path) -> bytes:
    try:
        return (reference / "manifest.json" if reference.is_dir() else reference).read_bytes()
    except OSError:
        return b""


def _record(project: Project, settings: Settings, report: Report, files: Sequence[Path]) -> str:
    """Log a report to MLflow; return why not if that does not work, since data are no worse for it."""
    metrics = {"data/errors": float(report.num_errors), "data/warnings": float(report.num_warnings)}
    for finding in report.findings:
        name = f"data/{finding.check}"
        metrics[name] = metrics.get(name, 0.0) + 1
    for place, dataset in enumerate(report.datasets):
        metrics[f"data/samples_{place}"] = float(dataset.num_samples)
    tags = {"bessemer.project": project.name, "bessemer.stage": "validation"}
    try:
        storage = storage_folder(settings)
        uri = tracking_of(settings, storage)
        experiment = settings.tracking.experiment or project.name
        log_validation(uri, experiment, metrics, tags, to_toml(settings), files, artifacts_of(uri, storage))
    except BessemerError as error:
        return f"the report is not in MLflow: {error.found}"
    return ""
