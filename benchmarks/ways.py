"""What the benchmarks that train share: each way in a process of its own, and how Bessemer is started.

A script runs itself again with `--as <way>`; that process leaves its figures in a file of its folder.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pairs import run_once

_FIGURES = "figures.json"
_FOLDER_VARIABLE = "BENCHMARK_FOLDER"


def options(description: str | None, name: str, ways: Sequence[str]) -> argparse.ArgumentParser:
    """Return a parser of the options that every benchmark has.

    Args:
        description: the docstring of the script.
        name: of the script, for its JSON file.
        ways: that it can run by themselves.
    """
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5, help="rounds (count)")
    parser.add_argument("--out", type=Path, default=Path(f"{name}.json"), help="JSON file")
    parser.add_argument("--as", dest="way", choices=list(ways), help=argparse.SUPPRESS)
    return parser


def measured(script: str, way: str, *arguments: str, **environment: str) -> dict[str, float]:
    """Run one way of a script in a process of its own and a new folder; return its figures."""
    with tempfile.TemporaryDirectory(prefix=f"bessemer-{Path(script).stem}-") as folder:
        command = [sys.executable, script, "--as", way, *arguments]
        run_once(command, Path(folder), **{_FOLDER_VARIABLE: folder, **environment})
        figures: dict[str, float] = json.loads(Path(folder, _FIGURES).read_text())
    return figures


def folder() -> Path:
    """Return the folder of the way that this process, or the process that started it, runs."""
    return Path(os.environ[_FOLDER_VARIABLE])


def leave(figures: Mapping[str, float]) -> None:
    """Leave figures for the process that started this way."""
    (folder() / _FIGURES).write_text(json.dumps(figures))


def settings(**sections: Mapping[str, Any]) -> Any:
    """Return Bessemer's default settings with some changed; a run's files go to this way's folder."""
    from bessemer import Settings

    return Settings.model_validate(
        {
            **sections,
            "checkpoint": {"storage_path": str(folder() / "runs"), **sections.get("checkpoint", {})},
            "tracking": {"log_model": False, "uri": f"sqlite:///{folder()}/mlflow.db"},
        }
    )


def with_bessemer(program: Callable[..., Any], given: Any, **arguments: Any) -> Any:
    """Train a program of a script with `bessemer.fit`, on a Ray cluster of its own."""
    from bessemer import fit

    script = Path(sys.modules[program.__module__].__file__ or "")
    return fit(
        f"{script.stem}:{program.__name__}",
        given,
        project=script.stem,
        search_path=[str(script.parent)],
        **arguments,
    )
