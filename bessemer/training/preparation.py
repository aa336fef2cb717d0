"""Prepares what a project's settings ask for: rows of a source, and samples that need computing only once.

Everything here may be called again: what is there already and of the same origin is left as it is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bessemer.config.project import package_of
from bessemer.config.settings import Settings
from bessemer.data.prepared.cache import candidate, work_of
from bessemer.data.prepared.making import Made, Work, prepare
from bessemer.data.prepared.rows import work_of_preparation
from bessemer.training.inspection import loaders_of

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Prepared:
    """What became of one data set.

    Attributes:
        name: of the data.
        state: made now, unchanged since it was made, or not to be prepared.
        reason: why it was made again, or is not to be prepared; "" for the first time.
        made: the result, or None.
    """

    name: str
    state: Literal["made", "unchanged", "in each pass"]
    reason: str
    made: Made | None


def prepare_project(
    program: str, settings: Settings, search_path: Sequence[str], progress: Progress
) -> list[Prepared]:
    """Prepare the rows of `[preparation]`, and the samples of loaders if `data.cache` asks for it.

    Args:
        program: `package.module:function`.
        settings: of the project.
        search_path: folders that go in front of `sys.path`.
        progress: told the name, and how many items of how many are done.

    Raises:
        DataError: a sample failed, samples are not alike, or the folder cannot be written.
        SettingsError: `[preparation]` names what is not there.
        ProjectError: the program cannot be imported.
    """
    results = []
    if settings.preparation.source:
        work, folder = work_of_preparation(settings, search_path)
        results.append(_prepared(work, folder, settings, progress))
    if settings.data.cache == "preprocessed":
        with tempfile.TemporaryDirectory() as scratch:
            loaders = loaders_of(program, settings, search_path, Path(scratch))
        for loader in sorted(loaders, key=lambda loader: loader.number):
            chosen = candidate(loader.dataset, settings.data, package_of(program), loader.number)
            if chosen.origin is None:
                results.append(Prepared(chosen.name, "in each pass", chosen.reason, None))
            else:
                work = work_of(loader.dataset, chosen)
                results.append(_prepared(work, chosen.folder, settings, progress))
    return results


def _prepared(work: Work, folder: Path, settings: Settings, progress: Progress) -> Prepared:
    def connect() -> None:
        from bessemer.training import cluster

        cluster.connect(settings.cluster)

    made = prepare(work, folder, connect, lambda done, total: progress(work.name, done, total))
    if not made.changes:
        return Prepared(work.name, "unchanged", "", made)
    again = "" if made.changes == ("new",) else f"{' and '.join(made.changes)} changed"
    return Prepared(work.name, "made", again, made)
