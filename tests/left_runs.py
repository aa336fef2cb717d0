"""What runs leave in a storage folder, for tests that look at it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any


def made(storage: Path, project: str, name: str, age_s: float = 0.0, **files: Any) -> Path:
    """A run with a lock and some files, by their names without an ending."""
    folder = storage / project / name
    folder.mkdir(parents=True)
    (folder / "run.lock").touch()
    os.utime(folder / "run.lock", (time.time() - age_s,) * 2)
    for stem, values in files.items():
        text = values if isinstance(values, str) else json.dumps(values)
        (folder / f"{stem}.{'toml' if stem == 'settings' else 'json'}").write_text(text)
    return folder


def checkpoint(folder: Path, step: int, metric: float | None) -> None:
    place = folder / "checkpoints" / f"step-{step:010d}"
    place.mkdir(parents=True)
    (place / "manifest.json").write_text(json.dumps({"step": step, "metric": metric}))


def append(run_dir: Path, name: str, *lines: tuple[float, str], level: str = "INFO") -> Path:
    file = run_dir / "logs" / name
    file.parent.mkdir(exist_ok=True)
    with file.open("a") as opened:
        for second, message in lines:
            time = f"2026-01-01T00:00:{second:06.3f}Z"
            opened.write(json.dumps({"time": time, "level": level, "message": message}) + "\n")
    return file
