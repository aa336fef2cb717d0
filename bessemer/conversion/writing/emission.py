"""Write a project: whole or not at all, and with what the user has changed in it since it was written.

A folder is written over only if conversion wrote it: its `pyproject.toml` says so. Its files are merged
with what the user made of them (`merging.py`) on the base that the last conversion left (`merge_base.py`).
What the user added stays; `conversion.json` is conversion's own, and written anew.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import tomllib
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path

from bessemer.conversion.writing import merge_base, placing
from bessemer.conversion.writing.kept_style import accept_kept_style
from bessemer.conversion.writing.merging import Change, Merge, marked_lines, merge
from bessemer.conversion.writing.tidying import tidy
from bessemer.errors import ConversionError

MANIFEST = "conversion.json"
# Has the Bessemer that the project was written by; like the manifest, written anew and not merged.
WHEELS = "wheels"
_CACHES = frozenset({"__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache"})
_SETTINGS = "settings.toml"
_MAX_SHOWN = 5


def formatted(files: Mapping[str, str]) -> dict[str, bytes]:
    """Return files, given by their path inside the project, as they are to be written.

    Raises:
        ConversionError: a path leads out of the project, or what was composed is no Python.
    """
    with tempfile.TemporaryDirectory(prefix="bessemer-") as temporary:
        folder = Path(temporary)
        for name, text in files.items():
            _place_in(folder, name).write_text(text, encoding="utf-8")
        tidy(folder)
        accept_kept_style(folder)
        return {name: (folder / name).read_bytes() for name in sorted(files)}


def merged(out: Path, converted: Mapping[str, bytes]) -> Merge:
    """Merge what conversion would write with what is in the project's folder.

    Raises:
        ConversionError: `out` is not conversion's to write, or it has conflicts from the last time.
    """
    check_target(out)
    known = merge_base.read(out)
    names = {*converted, *(_written(out) if known is None else known)}
    yours = {name: content for name in sorted(names) if (content := _content(out, name)) is not None}
    return merge(_assumed_base(out, yours, converted) if known is None else known, yours, converted)


def write(out: Path, files: Mapping[str, bytes], converted: Mapping[str, bytes]) -> None:
    """Put a project in place in one step, and take over what the user added to it.

    Args:
        out: the project's folder.
        files: its merged files, and the manifest, by path.
        converted: what conversion made, which is the base of the next merge.

    Raises:
        ConversionError: a path leads out of the project, or the folder cannot be written.
    """
    known = {*files, *converted, *_written(out), *(merge_base.read(out) or ()), MANIFEST, merge_base.FILE}
    folders = {str(parent) for name in known for parent in Path(name).parents}

    def is_users(inside: Path) -> bool:
        name = inside.as_posix()
        own = name in known or name in folders or fnmatch(name, f"{WHEELS}/bessemer-*.whl")
        return not own and not _CACHES.intersection(inside.parts)

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with placing.staged(out) as folder:
            for name, content in {**files, merge_base.FILE: merge_base.packed(converted)}.items():
                _put(folder, out, name, content)
            placing.put(folder, out, is_users)
    except OSError as error:
        raise ConversionError(f"{out} cannot be written: {error}", "a folder that can be written") from error


def check_target(out: Path) -> None:
    """Refuse a target that holds somebody's work, or conflicts that nobody has settled."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ConversionError(
            f"{out}: there is something else of this name",
            "a folder that conversion wrote, or nothing",
            "choose another folder for the project",
        )
    if not out.is_dir() or not any(out.iterdir()):
        return
    check_settled(out)
    if project_table(out) is None:
        raise ConversionError(
            f"{out}: this folder was not written by conversion",
            "no folder, an empty one, or a project with [tool.bessemer] in its pyproject.toml",
            "choose another folder for the project, or move this one away",
        )
    changed = changed_files(out) if merge_base.read(out) is None else ()
    if changed:
        raise ConversionError(
            f"{out}: changed by hand since it was written: {listed(changed)}",
            f"a project as conversion wrote it, or one with {merge_base.FILE}, on which changes are merged",
            "move the folder away, convert again, and carry the changes over",
        )


def check_settled(out: Path) -> None:
    """Refuse a project in which marks of conflicts are left.

    Raises:
        ConversionError: names each file and line.
    """
    marked = []
    for name, written in (merge_base.read(out) or {}).items():
        content = _content(out, name)
        lines = marked_lines(content, written) if content is not None else ()
        marked += [f"{name}:{line}" for line in lines]
    if marked:
        raise ConversionError(
            f"{out}: conflicts of the last conversion are left: {listed(marked)}",
            "files without marks",
            "of the lines between <<<<<<< yours and >>>>>>> converted leave what is right, and no mark",
        )


def conflict_places(conflicts: Iterable[Change]) -> list[str]:
    """Return where conflicts are, as `file:line`; a file alone where one side has deleted it."""
    return [place for x in conflicts for place in ([f"{x.file}:{line}" for line in x.lines] or [x.file])]


def listed(names: Collection[str]) -> str:
    """Return names in one line, the first few of them if there are many."""
    shown = ", ".join(list(names)[:_MAX_SHOWN])
    return f"{shown} and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else shown


def project_table(out: Path) -> dict[str, object] | None:
    """Return what a project's `pyproject.toml` says about its conversion, if it is one."""
    try:
        table = tomllib.loads((out / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return None
    found = table.get("tool", {}).get("bessemer")
    return found if isinstance(found, dict) else None


def record(out: Path) -> dict[str, object]:
    """Return what conversion noted about a project that it wrote; nothing if there is no such note."""
    try:
        found = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def changed_files(out: Path) -> tuple[str, ...]:
    """Return the files of a project without a base that are not as written, but for `settings.toml`."""
    written = _written(out)
    if not written:
        return (MANIFEST,)
    found = {name: _content(out, name) for name in written if name != _SETTINGS}
    return tuple(sorted(x for x, y in found.items() if y is not None and sha256(y) != written[x]))


def digests(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return the hash of every file."""
    return {name: sha256(files[name]) for name in sorted(files)}


def sha256(content: bytes) -> str:
    """Return the SHA-256 of a file's content."""
    return hashlib.sha256(content).hexdigest()


def _assumed_base(
    out: Path, yours: Mapping[str, bytes], converted: Mapping[str, bytes]
) -> Mapping[str, bytes]:
    """Return the base of a project that has none: its own files, which nobody changed.

    But for the settings: of those that were changed, what was written is not known; they are kept.
    """
    written = _written(out)
    found = {name: content for name, content in yours.items() if name in written}
    if _SETTINGS in found and sha256(found[_SETTINGS]) != written[_SETTINGS]:
        found |= {name: content for name, content in converted.items() if name == _SETTINGS}
    return found


def _put(folder: Path, out: Path, name: str, content: bytes) -> None:
    """Write a file of the new folder, or take it over if it stays as it is."""
    path = _place_in(folder, name)
    before = out / name
    if before.is_file() and before.read_bytes() == content:
        placing.carry(before, path)
        return
    path.write_bytes(content)
    if before.is_file():
        shutil.copymode(before, path)


def _place_in(folder: Path, name: str) -> Path:
    """Return where a file of the project goes, and make its folder."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ConversionError(f"{name}: a path that leads out of the project")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _content(out: Path, name: str) -> bytes | None:
    """Return a file of the project, None if it is not there.

    Raises:
        ConversionError: it cannot be read, or something else is in its place.
    """
    try:
        return (out / name).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConversionError(
            f"{out / name} cannot be read: {error.strerror}",
            "a file, since conversion writes one there",
            "move it away, or make it readable",
        ) from error


def _written(out: Path) -> dict[str, str]:
    files = record(out).get("files")
    return {str(name): str(digest) for name, digest in files.items()} if isinstance(files, dict) else {}
