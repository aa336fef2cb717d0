"""Reads the command line of the research code and says which settings it stands for.

People have it at hand: `--epochs 2 --no-accel`. The converter has written down how each option was
spelt (`options` in `conversion.json`), so argparse itself reads it here: abbreviations, `-l0.1`,
`store_false`, choices, positional arguments and `type=bool` mean what they meant in the research code.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from bessemer.errors import ProjectError, SettingsError, nearest

RECORD = "conversion.json"
# Any text that is not empty is True, as for argparse.
_TYPES: Mapping[str, Callable[[str], Any]] = {
    "int": int,
    "float": float,
    "str": str,
    "bool": bool,
    "Path": Path,
}


class _Parser(argparse.ArgumentParser):
    """A parser that raises instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(
            f"the research arguments cannot be read: {message}",
            expected="the command line of the research code, as in --research-args '--epochs 2'",
            todo="CONVERSION.md lists its options",
        )


def split(text: str) -> tuple[str, ...]:
    """Split a command line as a shell does.

    Raises:
        SettingsError: a quotation mark is missing.
    """
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise SettingsError(
            f"the research arguments {text!r} cannot be split: {error}",
            expected="quotation marks in pairs",
        ) from None


def research_values(root: Path, arguments: Sequence[str]) -> dict[str, Any]:
    """Return the settings that a command line of the research code gives, by name.

    Args:
        root: folder of the converted project.
        arguments: what stood after the script's name.

    Raises:
        ProjectError: no conversion wrote down the options of the research code.
        SettingsError: argparse refuses the command line.
    """
    options = recorded_options(root)
    parser = _parser(options)
    known, unknown = parser.parse_known_args(list(arguments))
    if unknown:
        flags = [flag for option in options for flag in option["spelling"]["flags"]]
        word = unknown[0].partition("=")[0]
        raise SettingsError(
            f"the research code has no option {unknown[0]!r}",
            expected=nearest(word, flags) or (f"one of {', '.join(flags)}" if flags else "no arguments"),
        )
    fields = {_destination(option): option["field"] for option in options}
    return {fields[name]: value for name, value in vars(known).items()}


def recorded_options(root: Path) -> list[dict[str, Any]]:
    """Return the options of the research code as the converter wrote them down.

    Raises:
        ProjectError: it did not.
    """
    file = root / RECORD
    try:
        options = json.loads(file.read_text(encoding="utf-8"))["options"]
        if all(option["spelling"] for option in options):
            return list(options)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise ProjectError(
        f"{file} does not say how the options of the research code were spelt",
        expected="a project that this version of Bessemer converted",
        todo="convert it again, or give the settings themselves, as `bessemer config` shows them",
    )


def _destination(option: Mapping[str, Any]) -> str:
    first = option["spelling"]["flags"][0]
    return str(option["name"] if first.startswith("-") else first)


def _parser(options: Sequence[Mapping[str, Any]]) -> _Parser:
    parser = _Parser(prog="research code", add_help=False, argument_default=argparse.SUPPRESS)
    for option in options:
        spelling = option["spelling"]
        action = spelling["action"]
        given: dict[str, Any] = {"action": argparse.BooleanOptionalAction if action == "boolean" else action}
        if action in ("store", "append"):
            given["type"] = _TYPES.get(spelling["type"], str)
            given["nargs"] = spelling["nargs"]
            given["choices"] = spelling["choices"] or None
        if spelling["flags"][0].startswith("-"):
            given |= {"dest": option["name"], "required": spelling["required"]}
        parser.add_argument(*spelling["flags"], **given)
    return parser
