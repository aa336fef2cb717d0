"""What is to be downloaded, as the settings say it: from which places, to where. Pure.

What cannot be meant is found here, before anything is fetched.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bessemer.config.data_settings import Data, DataFile
from bessemer.data.downloads.addresses import check_address, file_name, joined, shown
from bessemer.errors import SettingsError


@dataclass(frozen=True)
class Wanted:
    """A file that is to be here.

    Attributes:
        name: what it is called on a screen.
        places: addresses that have it, in the order that they are asked.
        target: the file.
        sha256: of its content (hex); "" if it is not known.
        unpack: folder that it is unpacked into; None if it is not.
    """

    name: str
    places: tuple[str, ...]
    target: Path
    sha256: str = ""
    unpack: Path | None = None


def wanted_files(data: Data) -> tuple[Wanted, ...]:
    """Return the files of the settings, in their order.

    Raises:
        SettingsError: an address that nothing opens, a file without a name, two files in one place, an
            archive that would be unpacked over other files.
    """
    wanted = tuple(_wanted(file, data) for file in data.files)
    _check_different([file.target for file in wanted], "are put into")
    folders = [file.unpack for file in wanted if file.unpack is not None]
    _check_different(folders, "are unpacked into")
    for file in wanted:
        if file.unpack is not None:
            _check_own_folder(file.unpack, [data.folder, *(x.target for x in wanted)], folders)
    return wanted


def wanted_file(url: str, target: Path, sha256: str, mirror: str, folder: Path) -> Wanted:
    """Return one file that code asks for."""
    for path in (target, folder):
        _check_path(path)
    place = os.path.relpath(target, folder)
    name = target.name if place.startswith("..") else place
    for address in filter(None, (mirror, url)):
        check_address(address)
    return Wanted(name, (joined(mirror, name), url) if mirror else (url,), target, sha256.lower())


def _wanted(file: DataFile, data: Data) -> Wanted:
    folder = Path(data.folder)
    named = file_name(file.url)
    if not file.target and not named:
        raise SettingsError(
            f"{shown(file.url)} has no name of a file at its end",
            expected="a name for what is fetched",
            todo='give it one in data.files: target = "data/name.csv"',
        )
    target = Path(os.path.expanduser(file.target)) if file.target else folder / named
    first = wanted_file(file.url, target, file.sha256, data.mirror, folder)
    for address in file.mirrors:
        check_address(address)
    _check_path(file.unpack)
    unpack = Path(os.path.expanduser(file.unpack)) if file.unpack else None
    return Wanted(first.name, (*first.places, *file.mirrors), target, file.sha256, unpack)


def _check_path(path: str | Path) -> None:
    try:
        is_path = "\0" not in str(path) and os.fsencode(path) is not None
    except UnicodeEncodeError:
        is_path = False
    if not is_path:
        raise SettingsError(f"{str(path)!r} is no name of a file", expected="a path on this machine")


def _check_different(paths: Iterable[Path], what: str) -> None:
    seen: set[str] = set()
    for path in paths:
        place = os.path.abspath(path)
        if place in seen:
            raise SettingsError(
                f"two of data.files {what} {path}",
                expected="a place of its own for each",
                todo="give one of them another target",
            )
        seen.add(place)


def _check_own_folder(folder: Path, others: Iterable[str | Path], folders: Iterable[Path]) -> None:
    place = Path(os.path.abspath(folder))
    for other in [*others, Path.cwd(), *(x for x in folders if x is not folder)]:
        if Path(os.path.abspath(other)).is_relative_to(place):
            raise SettingsError(
                f"an archive of data.files is unpacked into {folder}, which has {other} in it",
                expected="a folder of its own, which gets its name when everything is unpacked",
                todo=f'unpack = "{folder / "NAME"}"',
            )
