"""Finds what is judged: a run by its name, a checkpoint by what is asked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from bessemer.config.project import Project
from bessemer.config.settings import Settings
from bessemer.errors import ProjectError, nearest
from bessemer.training.folders import CHECKPOINTS_FOLDER, EVALUATION_FOLDER, RECORD_FILE, SETTINGS_FILE
from bessemer.training.identity import identity_of
from bessemer.training.storage import checkpoints_of, home_of, place_of, runs_at_home, storage_folder

if TYPE_CHECKING:
    from bessemer.training.checkpoints import Saved

BEST, LAST = "best", "last"
# What `training.identity` calls a file of code.
_CODE = "code "
_MOST_SHOWN = 4
# A checkpoint counts once it has one.
_MANIFEST = re.compile(rf"{CHECKPOINTS_FOLDER}/[^/]+/manifest\.json")


def find_run(settings: Settings, project: str, name: str = "", needs_checkpoint: bool = True) -> Path:
    """Return the folder of a run by name, or of the newest.

    Args:
        settings: say where runs are.
        project: whose.
        name: of the run, of a trial as "SEARCH/trial-0001", or "" for the newest run.
        needs_checkpoint: whether only runs with a checkpoint count.

    Raises:
        ProjectError: there is no such run.
    """
    folder = storage_folder(settings) / project
    runs = _runs_in(folder, needs_checkpoint)
    if "/" in name and (folder / name / CHECKPOINTS_FOLDER).is_dir():
        return folder / name  # a trial of a search
    names = [path.name for path in runs]
    suffix = " with a checkpoint" if needs_checkpoint else ""
    if name and name not in names:
        raise ProjectError(
            f"project {project} has no run {name!r}{suffix} in {place_of(folder)}",
            expected=nearest(name, names) or f"one of: {', '.join(names[-5:]) or 'none yet'}",
            todo=f"bessemer train --project {project}",
        )
    if not runs:
        raise ProjectError(
            f"project {project} has no run{suffix} in {place_of(folder)}",
            expected="a run that was begun",
            todo=f"bessemer train --project {project}",
        )
    found = runs[names.index(name)] if name else runs[-1]
    home = home_of(found)
    if home is not None:
        home.fetch_records()
        home.fetch_folder(EVALUATION_FOLDER)
    return found


def _runs_in(folder: Path, needs_checkpoint: bool) -> list[Path]:
    """Return the folders of a project's runs; the one that was driven last comes last."""
    runs = runs_at_home(folder)
    if runs is not None:
        wanted = _MANIFEST if needs_checkpoint else re.compile(re.escape(RECORD_FILE))
        return [folder / name for name, objects in runs.items() if any(map(wanted.fullmatch, objects))]
    return sorted(
        (
            path.parent
            for path in folder.glob(f"*/{CHECKPOINTS_FOLDER if needs_checkpoint else RECORD_FILE}")
            if path.is_file() or any(path.iterdir())
        ),
        key=lambda path: path.stat().st_mtime,
    )


def settings_file_of(run_dir: Path) -> Path:
    """Return the settings that a run was trained with."""
    return run_dir / SETTINGS_FILE


def find_checkpoint(run_dir: Path, settings: Settings, asked: str = BEST) -> tuple[Saved, str]:
    """Return a checkpoint of a run, and how it was chosen, in words.

    Args:
        run_dir: folder of the run.
        settings: of the run; say what is best.
        asked: "best", "last", or a step.

    Raises:
        ProjectError: there is none, or none of that step.
    """
    store = checkpoints_of(run_dir, settings)
    complete = store.complete()
    if not complete:
        raise ProjectError(
            f"{place_of(run_dir)} has no complete checkpoint",
            expected="a run that was trained for a turn of its outer loop",
        )
    if asked == LAST:
        return complete[-1], "the last"
    if asked == BEST:
        best, metric = store.best(), settings.checkpoint.best_metric
        assert best is not None
        if best.metric is None:
            why = f"{metric} was not logged" if metric else "no checkpoint.best_metric is set"
            return best, f"the last: {why}"
        return best, f"best {metric}, {best.metric:.6g}"
    found = [saved for saved in complete if str(saved.step) == asked.removeprefix("step-").lstrip("0")]
    if not found:
        steps = ", ".join(str(saved.step) for saved in complete)
        raise ProjectError(
            f"run {run_dir.name} has no checkpoint {asked!r}",
            expected=f"best, last, or one of the steps {steps}",
        )
    return found[-1], "asked for"


def changed_code(saved: Saved, settings: Settings, project: Project) -> str:
    """Say which files of a project are not what they were when a checkpoint was made; "" if none is.

    Args:
        saved: the checkpoint.
        settings: of the run.
        project: whose code is run now.
    """
    now = identity_of(settings, [project.package_dir], {})
    names = {name for name in (*now, *saved.identity) if name.startswith(_CODE)}
    changed = sorted(name for name in names if now.get(name) != saved.identity.get(name))
    if not saved.identity or not changed:
        return ""
    shown = ", ".join(name.removeprefix(_CODE) for name in changed[:_MOST_SHOWN])
    more = f" and {len(changed) - _MOST_SHOWN} more" if len(changed) > _MOST_SHOWN else ""
    return f"code has changed since the checkpoint was made: {shown}{more}"
