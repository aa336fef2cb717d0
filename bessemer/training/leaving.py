"""Files that a program leaves behind: written whole, inside the run's own folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import torch

from bessemer.errors import UserError
from bessemer.utils.files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def inside(folder: Path, name: str | os.PathLike[str]) -> Path:
    """Return where a file of the program goes: its own relative path under the run's folder.

    An absolute path, as research code likes them, is reduced to its last part.

    Raises:
        UserError: the path leads out of the folder, or names no file.
    """
    path = PurePath(os.fspath(name))
    relative = PurePath(path.name) if path.is_absolute() else path
    if not relative.name or ".." in relative.parts:
        raise UserError(f"the file name {os.fspath(name)!r}", expected="a path inside the run's own folder")
    return folder / relative


def save_to_file(value: Any, target: Path) -> None:
    """Write a value as `torch.save` does; a reader sees the old file or the new, never half of one."""
    write_whole(target, lambda part: torch.save(value, part))


def copy_file(source: Path, target: Path) -> None:
    """Copy a file; a reader of the target sees the old file or the new, never half of one."""
    write_whole(target, lambda part: shutil.copyfile(source, part))


def figure_to_file(figure: Figure, target: Path) -> None:
    """Write a matplotlib figure in the format of the file's ending."""
    kind = target.suffix.lstrip(".") or "png"
    write_whole(target, lambda part: figure.savefig(part, format=kind))
