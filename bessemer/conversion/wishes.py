"""What a researcher wants of production, kept beside the research code: `bessemer.toml`.

Its sections (`[scaling]`, `[checkpoint]`, `[[data.files]]`, `[registry]`, ...) go into the project's
`settings.toml` as they are, each in the place of what conversion would have written there. Settings of the
research code itself are not for it: their defaults stand in the code.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from bessemer.config.settings import SECTIONS
from bessemer.errors import SourceError, nearest

FILE = "bessemer.toml"


@dataclass(frozen=True)
class Wishes:
    """The sections of a `bessemer.toml`.

    Attributes:
        sections: their names, and those of all in them, such as `tuning.search`.
        text: of the file, without blank lines around it.
    """

    sections: frozenset[str] = frozenset()
    text: str = ""


def file_of(source: Path) -> Path:
    """Return where the wishes of a source would stand: in its folder, or beside a script under its name."""
    return source / FILE if source.is_dir() else source.with_suffix(f".{FILE}")


def read_wishes(source: Path) -> Wishes:
    """Read the `bessemer.toml` of a source, if it has one.

    Raises:
        SourceError: it is not TOML, or has something else than sections that there are.
    """
    file = file_of(source)
    if not file.is_file():
        return Wishes()
    try:
        text = file.read_text(encoding="utf-8")
        tree = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SourceError(f"{file} cannot be read: {error}", "TOML with sections of settings") from None
    for name, value in tree.items():
        if name not in SECTIONS:
            known = ", ".join(SECTIONS)
            what = "a section that is not known" if isinstance(value, dict) else "outside of a section"
            raise SourceError(
                f"{file} has {name}, {what}",
                nearest(name, SECTIONS) or f"sections of settings: {known}",
                "defaults of the research code's own settings stand in its code",
            )
    inner = {f"{name}.{key}" for name, table in tree.items() for key in table if isinstance(table, dict)}
    return Wishes(frozenset({*tree, *inner}), text.strip("\n"))
