"""Versions that the research code asks for: what its requirement files and its `!pip install` lines say.

Read are `requirements*.txt`, `environment.yml` and `pyproject.toml` beside the research code. A hint is
what a package that is not installed here is pinned to; nothing is fetched to find a better one.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

_MOST_BYTES = 2**20
# In an environment file: `- numpy=1.26.4=py311h`, `- numpy==1.26.4`, `- numpy>=1.26`, `- numpy`.
_CONDA = re.compile(r"^\s*-\s*(?:[\w-]+::)?([A-Za-z0-9][\w.-]*)\s*(=?[=<>!~][^#\s]*)?\s*(?:#.*)?$")


@dataclass(frozen=True)
class Hint:
    """A version that is asked for: `specifier` such as `==1.4` or `>=2`, and where, as `file:line`."""

    specifier: str
    where: str


def hints_beside(folder: Path) -> dict[str, Hint]:
    """Return what the requirement files of a folder say, by the normal name of the distribution."""
    found: dict[str, Hint] = {}
    files = [*sorted(folder.glob("requirements*.txt")), folder / "pyproject.toml"]
    files += [folder / "environment.yml", folder / "environment.yaml"]
    for file in files:
        try:
            if file.is_symlink() or file.stat().st_size > _MOST_BYTES:
                continue
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        for name, hint in _read(file.name, text):
            found.setdefault(name, hint)
    return found


def hints_of(requirements: Iterable[tuple[str, str]]) -> dict[str, Hint]:
    """Return what requirements say, each given with where it stands.

    >>> hints_of([("Pillow>=9", "a.ipynb[cell 1]:1")])
    {'pillow': Hint(specifier='>=9', where='a.ipynb[cell 1]:1')}
    """
    found: dict[str, Hint] = {}
    for text, where in requirements:
        for name, specifier in _requirement(text):
            found.setdefault(name, Hint(specifier, where))
    return found


def normal(name: str) -> str:
    """Return the normal name of a distribution.

    >>> normal("Typing_Extensions")
    'typing-extensions'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def _read(name: str, text: str) -> Iterator[tuple[str, Hint]]:
    if name == "pyproject.toml":
        yield from ((x, Hint(specifier, name)) for x, specifier in _from_pyproject(text))
        return
    for number, line in enumerate(text.splitlines(), start=1):
        pairs = _requirement(line) if name.endswith(".txt") else _from_conda(line)
        yield from ((x, Hint(specifier, f"{name}:{number}")) for x, specifier in pairs)


def _requirement(line: str) -> Iterator[tuple[str, str]]:
    plain = re.split(r"\s#|\s--|;", line.strip())[0].strip()
    if not plain or plain.startswith(("#", "-")):
        return
    try:
        found = Requirement(plain)
    except InvalidRequirement:
        return
    if found.url is None:
        yield normal(found.name), str(found.specifier)


def _from_conda(line: str) -> Iterator[tuple[str, str]]:
    matched = _CONDA.match(line)
    if matched is None:
        return
    name, given = matched[1], matched[2] or ""
    if re.match(r"=[^=]", given):  # conda's own: version and, after another =, a build
        given = f"=={given[1:].partition('=')[0]}"
    try:
        yield normal(name), str(SpecifierSet(given))
    except InvalidSpecifier:
        return


def _from_pyproject(text: str) -> Iterator[tuple[str, str]]:
    try:
        table: Mapping[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    listed = table.get("project", {}).get("dependencies", [])
    for line in listed if isinstance(listed, list) else []:
        yield from _requirement(str(line))
    poetry = table.get("tool", {}).get("poetry", {}).get("dependencies", {})
    for name, given in poetry.items() if isinstance(poetry, dict) else ():
        version = str(given.get("version", "") if isinstance(given, dict) else given)
        if name != "python":
            plain = f"=={version}" if version[:1].isdigit() else version
            # Poetry's ^1.2 is wider than a pin; it is a lower bound at least.
            yield from _requirement(f"{name}{plain.replace('^', '>=').replace('*', '')}")
