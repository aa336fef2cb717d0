"""What an archive may put where: names that stay in the folder, links that lead nowhere else. Pure.

An archive from elsewhere may be made to write over the files of whoever unpacks it. So nothing is believed:
a name must be a plain path below the folder, and a link must lead, through all other links of the archive, to
a place in the folder. `tarfile`'s own filter is not enough: it lets names begin with a slash, and several
releases of it let links lead out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from bessemer.data.downloads.entries import ArchiveError, Entry

Parts = tuple[str, ...]

_DRIVE = re.compile(r"^[A-Za-z]:($|/)")
# As many as Linux follows.
_MOST_LINKS_FOLLOWED = 40
_MOST_DEPTH = 256


def place_of(entry: Entry) -> Parts:
    """Return where in the folder an entry goes; () for the folder itself.

    Raises:
        ArchiveError: it would go somewhere else, or is nothing that can be unpacked.
    """
    name = entry.name
    if name.startswith(("/", "\\\\")) or _DRIVE.match(name):
        raise ArchiveError(f"{name!r} in it is an absolute path")
    if "\0" in name:
        raise ArchiveError(f"{name!r} in it is no name of a file")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts:
        raise ArchiveError(f"{name!r} in it leads out of the folder")
    if len(parts) > _MOST_DEPTH:
        raise ArchiveError(f"a name in it is {len(parts)} folders deep")
    if entry.kind == "other":
        raise ArchiveError(f"{name!r} in it is neither file, folder nor link, but a device or the like")
    if not parts and entry.kind != "folder":
        raise ArchiveError(f"{name!r} in it is a name of the folder itself")
    return parts


def hardlink_place(entry: Entry) -> Parts:
    """Return the place of the file that a second name is of.

    Raises:
        ArchiveError: it is out of the folder.
    """
    try:
        return place_of(Entry(entry.link, "file"))
    except ArchiveError:
        raise ArchiveError(f"{entry.name!r} in it is a link out of the folder, to {entry.link!r}") from None


def check_symlinks(links: Mapping[Parts, str]) -> None:
    """See that every symbolic link leads to a place in the folder.

    Args:
        links: target by place.

    Raises:
        ArchiveError: one leads out, or round in a circle.
    """
    for place, target in links.items():
        if not target or "\0" in target:
            raise ArchiveError(f"{'/'.join(place)!r} in it is a link to nothing")
        if _followed(place[:-1], target, links) is None:
            raise ArchiveError(f"{'/'.join(place)!r} in it is a link out of the folder, to {target!r}")


def _followed(folder: Parts, target: str, links: Mapping[Parts, str]) -> Parts | None:
    """Go where a link leads, as the system would; None if that is out of the folder."""
    if target.startswith("/"):
        return None
    # What is a link is followed before the `..` behind it is: `a/..` need not be where `a` is.
    at, todo, num_followed = folder, target.split("/")[::-1], 0
    while todo:
        part = todo.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if not at:
                return None
            at = at[:-1]
            continue
        at = (*at, part)
        if at in links:
            num_followed += 1
            if num_followed > _MOST_LINKS_FOLLOWED or links[at].startswith("/"):
                return None
            todo += links[at].split("/")[::-1]
            at = at[:-1]
    return at
