"""Files that library functions write to a path that the run gave them: kept with the run, written once.

Every worker runs the call, so that what it draws and computes is the same on all; what it writes goes into
the run's folder on the main worker, and to a place that is thrown away on the others and in replays.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from bessemer.training.leaving import inside
from bessemer.training.outlet import Outlet


class Written:
    """Gives out paths, and has what was written there recorded.

    Args:
        folder: the run's own folder.
        is_main: whether this worker is the one that writes.
        outlet: what records the files.
    """

    def __init__(self, folder: Path, is_main: bool, outlet: Outlet) -> None:
        self._folder = folder
        self._is_main = is_main
        self._outlet = outlet
        self._recorded: dict[Path, tuple[int, int]] = {}
        self._thrown_away: tempfile.TemporaryDirectory[str] | None = None

    def path(self, name: str | os.PathLike[str]) -> Path:
        """Return where a file is to be written; its folder is there."""
        target = inside(self._folder, name)
        if self._is_main and not self._outlet.muted:
            self._recorded.setdefault(target, (0, 0))
        else:
            if self._thrown_away is None:
                self._thrown_away = tempfile.TemporaryDirectory(prefix="bessemer-")
            target = inside(Path(self._thrown_away.name), name)
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def record(self) -> None:
        """Record files that are new, or were written again."""
        for target, known in self._recorded.items():
            if target.is_file():
                now = (target.stat().st_mtime_ns, target.stat().st_size)
                if now != known:
                    self._recorded[target] = now
                    self._outlet.file(target, "files")

    def close(self) -> None:
        """Remove what was thrown away."""
        if self._thrown_away is not None:
            self._thrown_away.cleanup()
