"""Judges a registered model: which run's program it is put into, and its weights as a file."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from bessemer.config.settings import Settings
from bessemer.judgement.evaluation import Request
from bessemer.judgement.marks import RUN_TAG, STEP_TAG
from bessemer.judgement.runs import BEST, find_checkpoint, find_run
from bessemer.tracking import check_store, find_version, weights_of
from bessemer.training.storage import checkpoints_of, storage_folder, tracking_of


def as_request(
    settings: Settings, project: str, reference: str, run: str, split: str, if_changed: bool
) -> tuple[str, Request]:
    """Return the run whose program judges a registered model, and what is asked of it.

    The weights go into the program's own model, in the run that the version came from unless another one is
    named; so it is judged by the same loop as a checkpoint is.

    Args:
        settings: of the project.
        project: its name.
        reference: NAME, NAME@ALIAS or NAME/VERSION.
        run: name of the run, or "" for that of the version.
        split: of the data, or "".
        if_changed: as `Request` has it.

    Raises:
        TrackingError: there is no such version, or the registry cannot be reached.
        ProjectError: its run is not here.
    """
    uri = tracking_of(settings, storage_folder(settings))
    check_store(uri)
    version = find_version(uri, reference)
    run = run or version.tags.get(RUN_TAG, "")
    run_dir = find_run(settings, project, run)
    step = version.tags.get(STEP_TAG, "") if run == version.tags.get(RUN_TAG) else ""
    steps = {str(saved.step) for saved in checkpoints_of(run_dir, settings).complete()}
    checkpoint = step if step in steps else BEST
    find_checkpoint(run_dir, settings, checkpoint)
    # On storage that the workers see, too.
    with tempfile.NamedTemporaryFile(dir=run_dir, prefix=".weights-", suffix=".pt", delete=False) as file:
        torch.save(weights_of(uri, version), file)
    return run_dir.name, Request(
        checkpoint,
        split,
        weights=Path(file.name),
        registered=version.label,
        if_changed=if_changed,
    )
