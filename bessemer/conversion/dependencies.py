"""From the imports of research code to pinned distributions.

The versions are those installed here, which is what the project is verified with. The lock holds
everything that these distributions need in turn, so that an image built from it tomorrow is the same.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass

import libcst as cst
from packaging.requirements import InvalidRequirement, Requirement

from bessemer.conversion.syntax import source_module, walk

# Distributions whose name differs from what is imported, for those that are not installed here.
_ALIASES = {
    "PIL": "pillow",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


@dataclass(frozen=True)
class Dependencies:
    """What a project needs.

    `direct` are requirements such as `torch==2.0`, without a version if the distribution is not
    installed here; those are `missing` too. `lock` is the closure of the others.
    """

    direct: tuple[str, ...]
    lock: tuple[str, ...]
    missing: tuple[str, ...]


def imported_packages(modules: Iterable[cst.Module]) -> tuple[str, ...]:
    """Return the top-level packages that modules import, without those of Python itself."""
    found: set[str] = set()
    for module in modules:
        for node in walk(module, cst.Import, cst.ImportFrom):
            if isinstance(node, cst.Import):
                found |= {alias.evaluated_name.partition(".")[0] for alias in node.names}
            elif not node.relative and node.module is not None:
                found.add(source_module(node).partition(".")[0])
    return tuple(sorted(found - sys.stdlib_module_names))


def find_dependencies(modules: Iterable[cst.Module]) -> Dependencies:
    """Find the distributions that modules need, as they are installed here."""
    provided = importlib.metadata.packages_distributions()
    names: dict[str, None] = {}
    missing: list[str] = []
    for package in imported_packages(modules):
        distributions = provided.get(package, [])
        if distributions:
            names[_normal(distributions[0])] = None
        else:
            missing.append(_ALIASES.get(package, package))
    direct = [*missing, *(f"{name}=={_public(importlib.metadata.version(name))}" for name in names)]
    return Dependencies(tuple(sorted(direct)), lock(names), tuple(sorted(missing)))


def lock(names: Iterable[str]) -> tuple[str, ...]:
    """Return the pinned closure of distributions that are installed here."""
    pinned: dict[str, str] = {}
    waiting: list[tuple[str, frozenset[str]]] = [(_normal(name), frozenset()) for name in names]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        pinned[name] = _public(distribution.version)
        for text in distribution.requires or ():
            requirement = _requirement(text)
            if requirement is not None and _applies(requirement, extras):
                waiting.append((_normal(requirement.name), frozenset(requirement.extras)))
    return tuple(f"{name}=={pinned[name]}" for name in sorted(pinned))


def _requirement(text: str) -> Requirement | None:
    try:
        return Requirement(text)
    except InvalidRequirement:
        return None


def _applies(requirement: Requirement, extras: frozenset[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def _public(version: str) -> str:
    """Return a version without its local part: `2.0+cpu` is a build of the published `2.0`."""
    return version.partition("+")[0]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
