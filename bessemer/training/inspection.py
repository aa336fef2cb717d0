"""Runs a program up to its outer loop, in this process and without training, to see its loaders."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import RandomSampler

from bessemer.config.project import resolve_function
from bessemer.config.settings import Settings
from bessemer.data.generators import seed_generators
from bessemer.data.loaders import Loader
from bessemer.errors import BessemerError, ProjectError
from bessemer.training.outlet import prints_of
from bessemer.training.run import Run, set_current_run
from bessemer.training.session import Session, closing
from bessemer.training.surroundings import ProgramInspected, Surroundings
from bessemer.utils.collectives import Group

_OWN_FOLDER = str(Path(__file__).parent.parent)


def loaders_of(
    program: Callable[..., Any] | str, settings: Settings, search_path: Sequence[str], folder: Path
) -> list[Loader[Any]]:
    """Return the loaders that a program makes before its outer loop; those that are shuffled come first.

    Args:
        program: a function, or `package.module:function`.
        settings: the project's settings.
        search_path: folders that go in front of `sys.path`.
        folder: for what the program prints and leaves.

    Raises:
        ProjectError: the program cannot be imported, or failed before its outer loop.
    """
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
    except BessemerError:
        raise
    except (Exception, SystemExit) as error:  # whatever the research code raises
        raise ProjectError(
            f"the program failed before its outer loop: {type(error).__name__}: {error}{_place_of(error)}",
            expected="a program that makes its loaders",
            todo="correct it, or download its data: bessemer data download",
        ) from error
    finally:
        set_current_run(None)
    # The training loader is the one that is shuffled; what it holds is what others must not.
    found = [session.loaders[number] for number in sorted(session.loaders)]
    return sorted(found, key=lambda loader: not isinstance(loader.sampler, RandomSampler))


def _place_of(error: BaseException) -> str:
    """Return where in the project's own code an error came from: ` (loaders.py:12)`; "" if nobody knows."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "site-packages" not in frame.filename and not frame.filename.startswith((_OWN_FOLDER, "<"))
    ]
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
