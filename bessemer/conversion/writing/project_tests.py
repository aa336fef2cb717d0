"""What the tests of an emitted project are about: its modules, and its settings with their defaults."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from bessemer.conversion.option import Option

_EXAMPLES = {"int": "1", "float": "1.0", "str": '"text"', "bool": "True", "Path": '"path"'}


def values_of_tests(package: str, rooms: Iterable[str], options: Iterable[Option]) -> dict[str, object]:
    """Return what the templates of the tests are filled with.

    Args:
        package: of the project.
        rooms: its modules, as paths in the package.
        options: those of the research code.
    """
    given = list(options)
    return {
        "modules": [
            f"{package}.config.settings",
            *(f"{package}.{x.removesuffix('.py').replace('/', '.')}" for x in rooms),
        ],
        "plain": [x for x in given if x.default and not x.default_is_call],
        "required": [{**asdict(x), "example": example_of(x.annotation)} for x in given if x.default is None],
    }


def example_of(annotation: str) -> str:
    """Return a value of a type of settings, as Python source.

    >>> example_of("tuple[int, ...]")
    '(1,)'
    """
    if annotation.startswith("tuple["):
        return f"({example_of(annotation[6:-6])},)"
    if annotation.startswith("Literal["):
        return annotation[8:-1].split(",")[0]
    return _EXAMPLES.get(annotation.removesuffix(" | None"), "None")
