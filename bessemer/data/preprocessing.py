"""Calls what a project does before training: `download(settings)` and `preprocess(settings)`.

A project defines them in `<package>/data/preprocessing.py`; one that has none needs none, and that
is said.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from typing import Any, Literal

from bessemer.config.project import Project
from bessemer.config.settings import Settings

Stage = Literal["download", "preprocess"]


def stage_of(project: Project, stage: Stage) -> Callable[[Settings], Any] | None:
    """Return a project's function for a stage, or None if it has none."""
    if str(project.root) not in sys.path:
        sys.path.insert(0, str(project.root))
    package = project.entry.partition(":")[0].partition(".")[0]
    name = f"{package}.data.preprocessing"
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and name.startswith(error.name):
            return None
        raise
    function: Callable[[Settings], Any] | None = getattr(module, stage, None)
    return function if function is not None and _takes_settings(function) else None


def _takes_settings(function: Callable[..., Any]) -> bool:
    """Tell a stage from a function of the research code that has its name."""
    given = list(inspect.signature(function).parameters.values())
    if not given or any(x.default is x.empty for x in given[1:] if x.kind is x.POSITIONAL_OR_KEYWORD):
        return False
    kind = given[0].annotation
    is_typed = isinstance(kind, type) and issubclass(kind, Settings)
    return is_typed or given[0].name == "settings" or str(kind).rpartition(".")[2] == "Settings"
