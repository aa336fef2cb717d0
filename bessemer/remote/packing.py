"""What of a project travels to a cluster: its own files, without runs, environments and secrets.

Ray uploads a folder as it is, so what is to travel is copied into one of its own first; that way its size
is known, and a message can say what is large, before anything is sent.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from bessemer.errors import ProjectError

# Ray refuses more (GCS_STORAGE_MAX_SIZE in ray/_private/runtime_env/packaging.py).
MAX_BYTES = 512 * 2**20
# At the top of a project: what a run writes, what an environment or a package is made of. Below it these are
# names as any other, such as that of a module.
_LEFT_OUT = frozenset({"runs", "wheelhouse", "venv", "build", "dist", "mlruns"})
_LEFT_OUT_ANYWHERE = frozenset({"secrets", "__pycache__", "node_modules"})
_SHOWN = 3


def files_of(root: Path) -> Iterator[Path]:
    """Yield the files of a project that a job needs, in the order of their names.

    What begins with a dot stays here, and so do symbolic links that lead out of the project, or to folders.
    """
    inside = root.resolve()
    for folder, folders, names in os.walk(root):
        left_out = _LEFT_OUT_ANYWHERE | (_LEFT_OUT if Path(folder) == root else frozenset())
        folders[:] = sorted(x for x in folders if not (x.startswith(".") or x in left_out))
        for name in sorted(names):
            path = Path(folder) / name
            if name.startswith(".") or not path.is_file():
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                continue
            yield path


def pack(root: Path, target: Path, max_bytes: int = MAX_BYTES) -> int:
    """Copy what a job needs of a project into a folder; return how much that is (bytes).

    Raises:
        ProjectError: it is more than a cluster takes; the largest files are named.
    """
    files = [(path.stat().st_size, path) for path in files_of(root)]
    total = sum(size for size, _ in files)
    if total > max_bytes:
        largest = sorted(files, reverse=True)[:_SHOWN]
        named = ", ".join(f"{path.relative_to(root)} {size / 2**20:.0f} MiB" for size, path in largest)
        raise ProjectError(
            f"{root} has {total / 2**20:.0f} MiB to send; the largest: {named}",
            expected=f"at most {max_bytes / 2**20:.0f} MiB, which is what Ray takes",
            todo="keep data outside of the project's folder, on storage that the cluster reaches",
        )
    for _, path in files:
        place = target / path.relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, place)
    return total
