"""Runs a program up to its outer loop, in this process, to see what it makes: loaders and models."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from bessemer.config.project import Project, resolve_function
from bessemer.config.settings import Settings
from bessemer.data.generators import seed_generators
from bessemer.data.sources.opening import open_source
from bessemer.judgement.recording import content_of
from bessemer.training.outlet import prints_of
from bessemer.training.run import Run, set_current_run
from bessemer.training.session import Session, closing
from bessemer.training.surroundings import ProgramInspected, Surroundings
from bessemer.utils.collectives import Group


@contextmanager
def previewed(project: Project, settings: Settings) -> Iterator[Session]:
    """Give the session of a program that has come to its outer loop, on the CPU; it trains nothing.

    Raises:
        Exception: whatever the program raises.
    """
    function = resolve_function(project.entry, [str(project.root)])
    with tempfile.TemporaryDirectory() as folder:
        seed_generators(settings.data.seed)
        surroundings = Surroundings(
            settings, Group(), torch.device("cpu"), output_dir=Path(folder), mode="inspect"
        )
        with closing(Session(surroundings)) as session:
            run = Run(session)
            set_current_run(run)
            try:
                with prints_of(False, Path(folder) / "log", lambda: True), suppress(ProgramInspected):
                    function(run, settings)
                yield session
            finally:
                set_current_run(None)


def data_of(project: Project, settings: Settings) -> set[str]:
    """Return the fingerprints of the data that a program makes loaders of, and of its sources."""
    with previewed(project, settings) as session:
        found = {content_of(loader.dataset) for loader in session.loaders.values()}
    for name in settings.data.sources:
        found.add(content_of(open_source(settings, name, [str(project.root)])))
    return found - {""}
