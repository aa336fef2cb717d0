"""Runs a program up to its outer loop, in this process and without training, to see its loaders."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import RandomSampler

from bessemer.config.project import resolve_function
from bessemer.config.settings import Settings
from bessemer.data.generators import seed_generators
from bessemer.data.loaders import Loader
from bessemer.data.validation import DataReport, Finding, missing_classes, overlap, validate
from bessemer.errors import ProjectError
from bessemer.training.outlet import prints_of
from bessemer.training.run import Run, set_current_run
from bessemer.training.session import Session, closing
from bessemer.training.surroundings import ProgramInspected, Surroundings
from bessemer.utils.collectives import Group


def validate_data(
    program: Callable[..., Any] | str,
    settings: Settings,
    search_path: Sequence[str],
    max_samples: int,
) -> tuple[list[DataReport], list[Finding]]:
    """Check the data of every loader that a program makes before its outer loop.

    Args:
        program: a function, or `package.module:function`.
        settings: the project's settings.
        search_path: folders that go in front of `sys.path`.
        max_samples: the most samples of a data set that are looked at (count).

    Returns:
        A report for each data set, and findings between the first one and the others.

    Raises:
        ProjectError: the program makes no loader.
    """
    with tempfile.TemporaryDirectory() as folder:
        loaders = loaders_of(program, settings, search_path, Path(folder))
    if not loaders:
        raise ProjectError(
            "the program makes no loader before its outer loop",
            expected="run.loader(...) calls",
            todo="nothing can be validated here; check the data in the program itself",
        )
    reports = [validate(loader.dataset, _name(loader), max_samples) for loader in loaders]
    between = [
        finding
        for other in reports[1:]
        for finding in (overlap(reports[0], other), missing_classes(reports[0], other))
        if finding is not None
    ]
    return reports, between


def loaders_of(
    program: Callable[..., Any] | str, settings: Settings, search_path: Sequence[str], folder: Path
) -> list[Loader[Any]]:
    """Return the loaders that a program makes before its outer loop; those that are shuffled come first."""
    function = resolve_function(program, list(search_path)) if isinstance(program, str) else program
    seed_generators(settings.data.seed)
    session = Session(Surroundings(settings, Group(), torch.device("cpu"), output_dir=folder, mode="inspect"))
    run = Run(session)
    set_current_run(run)
    try:
        with closing(session), prints_of(False, folder / "log", lambda: True):
            function(run, settings)
    except ProgramInspected:
        pass
    finally:
        set_current_run(None)
    # The training loader is the one that is shuffled; what it holds is what others must not.
    found = [session.loaders[number] for number in sorted(session.loaders)]
    return sorted(found, key=lambda loader: not isinstance(loader.sampler, RandomSampler))


def _name(loader: Loader[Any]) -> str:
    role = "shuffled" if isinstance(loader.sampler, RandomSampler) else "in order"
    return f"{type(loader.dataset).__name__} ({role})"
