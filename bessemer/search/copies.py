"""Checkpoints that members of a population take over from each other.

A member's state of a round is kept aside, as its own run goes on and takes its old checkpoints away.
Everything can be done again after a kill in the middle.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from bessemer.errors import CheckpointError
from bessemer.training.checkpoints import CheckpointStore
from bessemer.training.folders import CHECKPOINTS_FOLDER

KEPT_FOLDER = "kept"
_TAKEN_FILE = "taken-over"


def turns_done(run_dir: Path) -> int:
    """Return the turns that the newest checkpoint of a run is of; 0 without one (count)."""
    newest = CheckpointStore(str(run_dir / CHECKPOINTS_FOLDER), keep=1).newest()
    return int(newest[1]["num_judged"]) if newest is not None else 0


def keep_aside(run_dir: Path, study_dir: Path, turn: int) -> None:
    """Keep the newest checkpoint of a run as its state after a round."""
    saved = CheckpointStore(str(run_dir / CHECKPOINTS_FOLDER), keep=1).complete()
    if not saved:
        raise CheckpointError(
            f"{run_dir.name} has no checkpoint after turn {turn}",
            expected="one that the others of its population can take over",
        )
    target = _kept(study_dir, run_dir.name, turn)
    if target.is_dir():
        return
    part = target.with_name(f".{target.name}")
    shutil.rmtree(part, ignore_errors=True)
    # Checkpoints are never changed, so the same bytes may have two names.
    shutil.copytree(saved[-1].path, part / Path(saved[-1].path).name, copy_function=_link)
    part.rename(target)
    older = sorted(target.parent.glob("turn-*"))[:-2]
    for folder in older:
        shutil.rmtree(folder, ignore_errors=True)


def take_over(run_dir: Path, study_dir: Path, source: str, turn: int) -> None:
    """Put the state of another run after a round in the place of a run's own checkpoints, once.

    Args:
        run_dir: of the run that takes it over.
        study_dir: of the search.
        source: name of the other run.
        turn: of the round (count).
    """
    marker = run_dir / _TAKEN_FILE
    if marker.is_file() and int(marker.read_text(encoding="utf-8")) >= turn:
        return
    kept = _kept(study_dir, source, turn)
    if not kept.is_dir():
        raise CheckpointError(f"the state of {source} after turn {turn} is not in {kept.parent}")
    new, own = run_dir / f".{CHECKPOINTS_FOLDER}", run_dir / CHECKPOINTS_FOLDER
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(kept, new, copy_function=_link)
    shutil.rmtree(own, ignore_errors=True)
    new.rename(own)
    part = marker.with_name(f".{_TAKEN_FILE}")
    part.write_text(f"{turn}\n", encoding="utf-8")
    part.rename(marker)


def _kept(study_dir: Path, name: str, turn: int) -> Path:
    folder = study_dir / KEPT_FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"turn-{turn:06d}"


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)
    return target
