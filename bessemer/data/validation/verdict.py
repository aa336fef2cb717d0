"""The verdict of the last validation, kept beside the data, and what `train` makes of it.

A verdict is of data in a state: the manifests of prepared data, the fingerprints of sources, names, sizes
and times of the files in `data.folder`, and the project's code. It counts as long as that is the same.
What is prepared is compared with its manifest each time, by the sizes of shards; the SHA-256 of one is
computed again only if its time says that it was written since.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from bessemer.config.section import Section
from bessemer.config.settings import Settings
from bessemer.data.prepared.manifest import MANIFEST_FILE, PREPARED_FOLDER, read_manifest
from bessemer.data.prepared.shards import is_whole
from bessemer.data.validation.findings import Report, counted, tally_text
from bessemer.data.validation.prepared import prepared_folders
from bessemer.errors import BessemerError, DataError, InvalidDataError

VALIDATION_FOLDER = "validation"
VERDICT_FILE = "verdict.json"
REPORT_PAGE = "report.html"
REPORT_FILE = "report.json"
# More than this is not hashed before a training: it would take longer than a few seconds.
_MAX_HASHED_BYTES = 2**30
_MAX_SHOWN = 3


class DataState(Section):
    """What data were, at a moment.

    Attributes:
        prepared: fingerprint of each manifest, by folder; what is wrong with it where it is damaged.
        shards: time of the last change of each shard (nanoseconds since 1970), by path.
        sources: fingerprint of each source, by name.
        files: hash of names, sizes and times of all other files in `data.folder`.
        code: hash of the project's code, which makes the samples.
    """

    prepared: dict[str, str] = Field(default_factory=dict)
    shards: dict[str, int] = Field(default_factory=dict)
    sources: dict[str, str] = Field(default_factory=dict)
    files: str = ""
    code: str = ""


class Verdict(Section):
    """What the last validation came to.

    Attributes:
        time: when (seconds since 1970).
        checks: hash of what was asked: checks, their settings, the reference.
        num_errors, num_warnings: findings (counts).
        errors: the first of them.
        data: what was validated.
    """

    time: float
    checks: str
    num_errors: int = Field(ge=0)
    num_warnings: int = Field(ge=0)
    errors: tuple[str, ...] = ()
    data: DataState

    @property
    def text(self) -> str:
        """`1 error, 2 warnings on 2026-11-28 12:05`."""
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.time))
        return f"{tally_text(self.num_errors, self.num_warnings)} on {when}"


@dataclass(frozen=True)
class Admission:
    """Why data may be trained on.

    Attributes:
        notes: what a user should know.
        tags: what the MLflow run says of it.
    """

    notes: list[str] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)


def verdict_of(report: Report, checks: str, data: DataState) -> Verdict:
    """Return the verdict that a report comes to."""
    errors = [finding for finding in report.findings if finding.severity == "error"]
    return Verdict(
        time=report.time,
        checks=checks,
        num_errors=report.num_errors,
        num_warnings=report.num_warnings,
        errors=tuple(f"{error.check}: {error.dataset}: {error.text}" for error in errors[:_MAX_SHOWN]),
        data=data,
    )


class Verdicts(Section):
    """The last verdict of each project that keeps its data in a folder.

    Attributes:
        format: version of this form.
        projects: by name.
    """

    format: Literal[1] = 1
    projects: dict[str, Verdict] = Field(default_factory=dict)


def read_verdicts(data_folder: Path) -> Verdicts:
    """Read the last verdicts; there are none where they cannot be read."""
    try:
        text = (data_folder / VALIDATION_FOLDER / VERDICT_FILE).read_text(encoding="utf-8")
        return Verdicts.model_validate_json(text)
    except (OSError, UnicodeDecodeError, ValidationError, RecursionError):
        return Verdicts()


def with_verdict(data_folder: Path, project: str, verdict: Verdict) -> str:
    """Return what the file of verdicts holds with a new one."""
    known = read_verdicts(data_folder).projects
    return Verdicts(projects={**known, project: verdict}).model_dump_json(indent=1) + "\n"


def state_of(settings: Settings, search_path: Sequence[str], code: Sequence[Path]) -> DataState:
    """Look at what a project's data are now, cheaply.

    Args:
        settings: of the project.
        search_path: folders that go in front of `sys.path`.
        code: folders of the project's packages.
    """
    folder = Path(settings.data.folder)
    prepared: dict[str, str] = {}
    shards: dict[str, int] = {}
    for place in prepared_folders(folder):
        try:
            manifest = read_manifest(place)
        except DataError as error:
            prepared[place.name] = error.found
            continue
        prepared[place.name] = manifest.fingerprint
        shards |= {
            f"{place.name}/{shard.path}": _changed_ns(place / shard.path) for _, shard in manifest.shards()
        }
    return DataState(
        prepared=prepared,
        shards=shards,
        sources={name: _fingerprint(settings, name, search_path) for name in settings.data.sources},
        files=_listing_hash(folder),
        code=_code_hash(code),
    )


def admit(
    project: str, settings: Settings, search_path: Sequence[str], code: Sequence[Path], allow_invalid: bool
) -> Admission:
    """Decide whether a project's data may be trained on.

    Args:
        project: its name.
        settings: of the project.
        search_path: folders that go in front of `sys.path`.
        code: folders of the project's packages.
        allow_invalid: train even so; the run gets a tag that says why it should not have been.

    Raises:
        InvalidDataError: their last validation found errors, or prepared data are not what their
            manifest says; names what is wrong.
    """
    folder = Path(settings.data.folder)
    verdict = read_verdicts(folder).projects.get(project)
    damage, notes = _damage(folder, verdict.data.shards if verdict else {})
    refusal = _refusal_of_damage(folder, damage) if damage else None
    if verdict is None:
        if settings.data.sources or prepared_folders(folder):
            notes.append("these data were never validated: bessemer data validate")
    elif changed := _changes(verdict.data, state_of(settings, search_path, code)):
        found = f" found {verdict.text}" if verdict.num_errors else ""
        notes.append(f"{' and '.join(changed)} changed since validation{found}: bessemer data validate")
    elif verdict.num_errors and refusal is None:
        refusal = _refusal_of_errors(folder, verdict)
    if refusal is None:
        return Admission(notes)
    if not allow_invalid:
        raise refusal
    return Admission(
        [*notes, f"training on invalid data: {refusal.found}"], {"bessemer.invalid_data": refusal.found}
    )


def _refusal_of_damage(folder: Path, damage: Sequence[str]) -> InvalidDataError:
    more = f"; and {len(damage) - _MAX_SHOWN} more" if len(damage) > _MAX_SHOWN else ""
    return InvalidDataError(
        f"prepared data are not what their manifest says: {'; '.join(damage[:_MAX_SHOWN])}{more}",
        expected=f"the shards that `bessemer data preprocess` wrote into {folder / PREPARED_FOLDER}",
        todo="bessemer data preprocess makes them again; or train even so: --allow-invalid-data",
    )


def _refusal_of_errors(folder: Path, verdict: Verdict) -> InvalidDataError:
    more = f"; and {verdict.num_errors - _MAX_SHOWN} more" if verdict.num_errors > _MAX_SHOWN else ""
    return InvalidDataError(
        f"validation of these data found {verdict.text}: {'; '.join(verdict.errors)}{more}",
        expected="data without errors",
        todo=f"see {folder / VALIDATION_FOLDER / REPORT_PAGE}, correct the data and run `bessemer data "
        "validate` again; or train even so: --allow-invalid-data",
    )


def _damage(folder: Path, known_ns: dict[str, int]) -> tuple[list[str], list[str]]:
    """Compare prepared data with their manifests.

    Returns:
        What is wrong, and what could not be looked at here.
    """
    damage: list[str] = []
    budget, left_out = _MAX_HASHED_BYTES, 0
    for place in prepared_folders(folder):
        try:
            manifest = read_manifest(place)
            written_ns = (place / MANIFEST_FILE).stat().st_mtime_ns
        except (DataError, OSError) as error:
            damage.append(error.found if isinstance(error, DataError) else f"{place}: {error.strerror}")
            continue
        for _, shard in manifest.shards():
            path = place / shard.path
            if not is_whole(place, shard):
                size = path.stat().st_size if path.is_file() else None
                text = "is missing" if size is None else f"has {size:,} bytes instead of {shard.num_bytes:,}"
                damage.append(f"{path} {text}")
                continue
            changed_ns = _changed_ns(path)
            if changed_ns <= written_ns or changed_ns == known_ns.get(f"{place.name}/{shard.path}"):
                continue
            if shard.num_bytes > budget:
                left_out += 1
                continue
            budget -= shard.num_bytes
            if not is_whole(place, shard, thorough=True):
                damage.append(f"{path} has another content than its SHA-256 says")
    text = f"{counted(left_out, 'shard')} written since the manifest are too large to compare here"
    return damage, [f"{text}: bessemer data validate"] if left_out else []


def _changes(before: DataState, now: DataState) -> list[str]:
    """Name what is not as it was."""
    names = {"prepared": "prepared data", "sources": "sources", "files": "files", "code": "code"}
    return [text for part, text in names.items() if getattr(before, part) != getattr(now, part)]


def _changed_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return -1


def _fingerprint(settings: Settings, name: str, search_path: Sequence[str]) -> str:
    """Return a source's fingerprint; of what a function makes there is none, but that of the code."""
    from bessemer.data.sources.base import Source
    from bessemer.data.sources.opening import open_source

    if settings.data.sources[name].format == "torch":
        return ""
    try:
        source = open_source(settings, name, search_path)
        return source.fingerprint() if isinstance(source, Source) else ""
    except BessemerError as error:
        return error.found


def _listing_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for line in _listed(folder, (VALIDATION_FOLDER, PREPARED_FOLDER)):
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def _listed(folder: Path, without: Sequence[str] = ()) -> Iterator[str]:
    """Yield name, size and time of each file in a folder and below, sorted; hidden ones are left out."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name in without or entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _listed(Path(entry.path))
        elif entry.is_file():
            try:
                found = entry.stat()
            except OSError:  # it went while we looked
                continue
            yield f"{entry.path}\0{found.st_size}\0{found.st_mtime_ns}\n"


def _code_hash(folders: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in sorted(file for folder in folders for file in folder.rglob("*.py")):
        digest.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]
