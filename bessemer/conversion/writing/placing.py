"""Puts a new folder in the place of an old one in one step, so that a kill leaves the one or the other.

The new folder is made whole first, with links to what it takes over from the old one; then the two are
exchanged. Where the system cannot exchange (`renameat2` is Linux, and not every file system has it), the
old one is renamed away and the new one renamed in; a kill between these two is made good by `settle`.

Everything happens in a folder beside the place, `.<name>.staged-*`, which is locked as long as its maker
lives, so that what a killed one left can be told from what a living one is at work on.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NEW, _OLD, _LOCK = "new", "old", "lock"
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2

# Whether something that is there is taken over: by its path inside the folder.
Keep = Callable[[Path], bool]


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Give an empty folder that is to take the place of `out`; it goes away again if it does not."""
    settle(out)
    area = Path(tempfile.mkdtemp(prefix=_prefix(out), dir=out.parent))
    lock = _opened(area)
    try:
        # Where files cannot be locked, nobody takes this folder for that of a dead process either.
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        new = area / _NEW
        new.mkdir()
        yield new
    finally:
        _clear(area, out)
        os.close(lock)


def put(new: Path, out: Path, keep: Keep) -> None:
    """Put a folder made by `staged` in its place, and take over what is kept of the old one.

    Args:
        new: the folder that `staged` gave.
        out: its place.
        keep: tells what of the old folder is taken over. What `new` has already is left as it is.
    """
    if not out.is_dir():
        os.rename(new, out)
        return
    bring(out, new, keep)
    here = _inside(out)
    old = new
    if not _exchange(new, out):
        old = new.parent / _OLD
        os.rename(out, old)
        os.rename(new, out)
    if here is not None:
        os.chdir(here if here.is_dir() else out)
    # What another process has written since, such as a run that goes on while its project is converted.
    bring(old, out, keep)


def settle(out: Path) -> None:
    """Put back the old folder if a kill left nothing in its place, and clear away what kills left."""
    if not out.parent.is_dir():
        return
    for area in sorted(x for x in out.parent.iterdir() if x.name.startswith(_prefix(out)) and x.is_dir()):
        lock = _opened(area)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        else:
            _clear(area, out)
        finally:
            os.close(lock)


def bring(source: Path, target: Path, keep: Keep) -> None:
    """Take over everything kept that the target lacks, or has an older version of; empty folders too.

    Raises:
        OSError: something cannot be read or written. What vanishes meanwhile is no error.
    """
    for folder, folders, files in os.walk(source, topdown=False, onerror=_unless_gone):
        inside = Path(folder).relative_to(source)
        links = [x for x in folders if os.path.islink(os.path.join(folder, x))]
        for name in filter(lambda x: keep(inside / x), [*links, *files]):
            with suppress(FileNotFoundError):
                if _is_newer(source / inside / name, target / inside / name):
                    carry(source / inside / name, target / inside / name)
        if not folders and not files and keep(inside):
            (target / inside).mkdir(parents=True, exist_ok=True)
        if (target / inside).is_dir():
            shutil.copymode(folder, target / inside)


def carry(source: Path, target: Path) -> None:
    """Take over one file or link: a second name for the same file, or a copy where there are no such."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def _opened(area: Path) -> int:
    """Open the file that is locked: for writing, as network file systems want it."""
    return os.open(area / _LOCK, os.O_RDWR | os.O_CREAT)


def _clear(area: Path, out: Path) -> None:
    """Remove a folder of `staged`; but put the old folder back if there is nothing in its place."""
    if not os.path.lexists(out) and (area / _OLD).is_dir():
        os.rename(area / _OLD, out)
    shutil.rmtree(area, ignore_errors=True)


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _is_newer(source: Path, target: Path) -> bool:
    try:
        there = target.lstat()
    except FileNotFoundError:
        return True
    return source.lstat().st_mtime_ns > there.st_mtime_ns


def _prefix(out: Path) -> str:
    return f".{out.name}.staged-"


def _inside(out: Path) -> Path | None:
    """Return where this process works, if it is in the folder: its place will be another folder."""
    with suppress(OSError):
        here = Path.cwd()
        return here if here.is_relative_to(out.resolve()) else None
    return None


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two folders in one step; return False where the system cannot."""
    if sys.platform != "linux":
        return False
    function = getattr(ctypes.CDLL(None), "renameat2", None)
    if function is None:
        return False
    status = function(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE)
    return bool(status == 0)
