"""Finds a complete run that training would only repeat: of the same code, lock file, settings and data."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bessemer.config.settings import Settings
from bessemer.data.datasets import fingerprint
from bessemer.errors import CheckpointError
from bessemer.training.folders import RESULT_FILE
from bessemer.training.identity import identity_of
from bessemer.training.inspection import loaders_of
from bessemer.training.storage import checkpoints_of, home_of, runs_at_home, storage_folder


def unchanged_run(
    program: Callable[..., Any] | str,
    settings: Settings,
    *,
    project: str,
    search_path: Sequence[str] = (),
    code: Sequence[Path] = (),
    tags: Mapping[str, str] | None = None,
) -> Path | None:
    """Return the folder of the newest such run, or None.

    The arguments are those of `fit`. The number of workers may be another one: they compute the same. Of
    the data, class, length and 64 samples are compared, as a run that is gone on with does.
    """
    identity = identity_of(settings, code, tags or {})
    now: Mapping[int, str] | None = None
    for run_dir in reversed(_complete_runs(storage_folder(settings) / project)):
        checkpoints = checkpoints_of(run_dir, settings)
        newest = checkpoints.complete()[-1:]
        if not newest or dict(newest[0].identity) != identity:
            continue
        try:
            saved = checkpoints.load(newest[0])["data"]
        except CheckpointError:
            continue
        now = _fingerprints(program, settings, search_path) if now is None else now
        if all(now.get(number) == found for number, found in saved.items() if number in now):
            home = home_of(run_dir)
            if home is not None:
                home.fetch_records()
            return run_dir
    return None


def _complete_runs(folder: Path) -> list[Path]:
    """Return the folders of a project's runs that came to their end, oldest first."""
    runs = runs_at_home(folder)
    if runs is not None:
        return [folder / name for name, objects in runs.items() if RESULT_FILE in objects]
    return [
        file.parent for file in sorted(folder.glob(f"*/{RESULT_FILE}"), key=lambda path: path.stat().st_mtime)
    ]


def _fingerprints(
    program: Callable[..., Any] | str, settings: Settings, search_path: Sequence[str]
) -> Mapping[int, str]:
    with tempfile.TemporaryDirectory() as folder:
        loaders = loaders_of(program, settings, search_path, Path(folder))
    return {
        loader.number: fingerprint(loader.dataset) for loader in loaders if hasattr(loader.dataset, "__len__")
    }
