"""Write a project: into a temporary folder beside its place, then renamed, so it is whole or not there.

A folder is written over only if conversion wrote it: its `pyproject.toml` says so. A file that somebody
changed in it is a reason to refuse; what somebody added to it, and `settings.toml`, is kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

from bessemer.errors import ConversionError

MANIFEST = "conversion.json"
_CACHES = frozenset({"__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache"})


def write(out: Path, files: Mapping[str, str], finish: Callable[[Path], None]) -> tuple[str, ...]:
    """Write files, given by their path inside the project, and put them in place in one step.

    Args:
        out: the project's folder.
        files: text by relative path.
        finish: called with the temporary folder before it is put in place (formatting, the manifest).

    Raises:
        ConversionError: `out` is something that conversion did not write.
    """
    check_target(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        for name, text in files.items():
            path = staged / name
            if not path.resolve().is_relative_to(staged.resolve()):
                raise ConversionError(f"{name}: a path that leads out of the project")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        finish(staged)
        staged.chmod(0o755)
        _replace(staged, out)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    return tuple(sorted(files))


def check_target(out: Path) -> None:
    """Refuse a target that holds somebody's work."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ConversionError(
            f"{out}: there is something else of this name",
            "a folder that conversion wrote, or nothing",
            "choose another folder for the project",
        )
    if not out.is_dir() or not any(out.iterdir()):
        return
    if project_table(out) is None:
        raise ConversionError(
            f"{out}: this folder was not written by conversion",
            "no folder, an empty one, or a project with [tool.bessemer] in its pyproject.toml",
            "choose another folder for the project, or move this one away",
        )
    changed = changed_files(out)
    if changed:
        shown = ", ".join(changed[:5]) + (", ..." if len(changed) > 5 else "")
        raise ConversionError(
            f"{out}: changed by hand since it was written: {shown}",
            "a project as conversion wrote it",
            "move the folder away, convert again, and carry the changes over",
        )


def project_table(out: Path) -> dict[str, object] | None:
    """Return what a project's `pyproject.toml` says about its conversion, if it is one."""
    try:
        table = tomllib.loads((out / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return None
    found = table.get("tool", {}).get("bessemer")
    return found if isinstance(found, dict) else None


def changed_files(out: Path) -> tuple[str, ...]:
    """Return the files of a project that are not as they were written. `settings.toml` is the user's."""
    written = _written(out)
    if not written:
        return (MANIFEST,)
    changed = [
        name
        for name, digest in written.items()
        if name != "settings.toml" and (out / name).is_file() and sha256(out / name) != digest
    ]
    return tuple(sorted(changed))


def digests(folder: Path) -> dict[str, str]:
    """Return the hash of every file below a folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): sha256(path)
        for path in paths
        if not _is_cache(path.relative_to(folder))
    }


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _replace(staged: Path, out: Path) -> None:
    """Put the new folder in place, and bring along what did not come from conversion."""
    if not out.exists():
        os.replace(staged, out)
        return
    written = _written(out)
    kept = [x for x in out.rglob("*") if x.is_file() and not _is_cache(x.relative_to(out))]
    own = [x.relative_to(out) for x in kept if _is_users(x, x.relative_to(out), written)]
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}-old-", dir=out.parent))
    os.replace(out, aside / out.name)
    try:
        os.replace(staged, out)
    except OSError:
        os.replace(aside / out.name, out)
        raise
    for name in own:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(aside / out.name / name, out / name)
    shutil.rmtree(aside, ignore_errors=True)


def _written(out: Path) -> dict[str, str]:
    try:
        files = json.loads((out / MANIFEST).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError):
        return {}
    return {str(name): str(digest) for name, digest in files.items()}


def _is_users(path: Path, name: Path, written: Mapping[str, str]) -> bool:
    if name.as_posix() == "settings.toml":
        return written.get("settings.toml") != sha256(path)
    return name.as_posix() not in written and name.as_posix() != MANIFEST


def _is_cache(name: Path) -> bool:
    return any(part in _CACHES for part in name.parts)
