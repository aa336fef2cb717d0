"""From the imports of a project to pinned distributions.

The versions are those installed here, which is what the project is verified with; for what is not installed,
what the research code asks for (`hints`), if it does. The lock holds everything that the installed
distributions need in turn, so that an image built from it tomorrow is the same.
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import libcst as cst
from packaging.requirements import InvalidRequirement, Requirement

from bessemer.conversion.syntax import source_module, walk
from bessemer.conversion.writing.hints import Hint, normal

# Distributions whose name differs from what is imported, for those that are not installed here.
_ALIASES = {
    "Bio": "biopython",
    "OpenSSL": "pyopenssl",
    "PIL": "pillow",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "faiss": "faiss-cpu",
    "git": "gitpython",
    "igraph": "python-igraph",
    "mpl_toolkits": "matplotlib",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "skopt": "scikit-optimize",
    "umap": "umap-learn",
    "yaml": "pyyaml",
}


@dataclass(frozen=True)
class Dependencies:
    """What a project needs.

    `direct` are requirements such as `torch==2.0`; of a distribution that is not installed here it is
    what the research code asks for, which may be no version. Those are `missing` too. `lock` is the closure
    of the others, `notes` say what a person should know, and `modules` what is imported from the missing
    ones where that is called something else.
    """

    direct: tuple[str, ...]
    lock: tuple[str, ...]
    missing: tuple[str, ...]
    notes: tuple[str, ...] = ()
    modules: Mapping[str, str] = field(default_factory=dict)


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


def find_dependencies(
    modules: Iterable[cst.Module], hints: Mapping[str, Hint] | None = None, own: Collection[str] = ()
) -> Dependencies:
    """Find the distributions that modules need, as they are installed here.

    Args:
        modules: whose imports are looked at.
        hints: versions that the research code asks for, by distribution.
        own: packages that are no dependency.
    """
    provided = importlib.metadata.packages_distributions()
    asked = hints or {}
    installed: dict[str, str] = {}
    missing: dict[str, str] = {}
    notes: list[str] = []
    renamed: dict[str, str] = {}
    for package in imported_packages(modules):
        if package in own:
            continue
        distributions = provided.get(package, [])
        if distributions:
            name = normal(distributions[0])
            installed[name] = _public(importlib.metadata.version(name))
            continue
        name = _ALIASES.get(package, package)
        hint = asked.get(normal(name))
        if hint is not None and hint.specifier:
            missing[name] = f"{name}{hint.specifier}"
            notes.append(f"`{name}` is not installed here: `{hint.specifier}`, as {hint.where} says.")
        else:
            missing[name] = name
            asks = f", and {hint.where} names no version" if hint is not None else ""
            notes.append(f"`{name}` is not installed here{asks}: it has no version.")
        if name != package:
            renamed[name] = package
    for name, version in installed.items():
        hint = asked.get(name)
        if (
            hint is not None
            and hint.specifier
            and not Requirement(f"{name}{hint.specifier}").specifier.contains(version, prereleases=True)
        ):
            notes.append(
                f"`{name}`: {hint.where} asks for `{hint.specifier}`; {version} is installed, and what the "
                "project was written with."
            )
    direct = [*missing.values(), *(f"{name}=={version}" for name, version in installed.items())]
    return Dependencies(
        tuple(sorted(direct)),
        lock(installed),
        tuple(sorted(missing)),
        tuple(notes),
        dict(sorted(renamed.items())),
    )


def lock(names: Iterable[str]) -> tuple[str, ...]:
    """Return the pinned closure of what is installed here; `name[extra]` has that extra too."""
    pinned: dict[str, str] = {}
    wanted = map(Requirement, names)
    waiting = [(normal(x.name), frozenset(x.extras)) for x in wanted]
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
                waiting.append((normal(requirement.name), frozenset(requirement.extras)))
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
