"""Bessemer turns research training code into production training on Ray.

The public names are loaded when they are first used, so that `import bessemer` and
`bessemer --help` load neither torch nor ray.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bessemer.config.settings import Settings
    from bessemer.search.command import tune
    from bessemer.training.run import Run, current_run
    from bessemer.training.trainer import fit

__version__ = "0.1.0"
__all__ = ["Run", "Settings", "current_run", "fit", "tune"]

_HOMES = {
    "Run": "bessemer.training.run",
    "Settings": "bessemer.config.settings",
    "current_run": "bessemer.training.run",
    "fit": "bessemer.training.trainer",
    "tune": "bessemer.search.command",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'bessemer' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
