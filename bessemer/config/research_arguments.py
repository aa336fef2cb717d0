"""Reads the command line of the research code and says which settings it stands for.

People have it at hand: `--epochs 2 --no-accel`. The converter has written down how each option was
spelt (`options` in `conversion.json`), so argparse itself reads it here: abbreviations, `-l0.1`,
`store_false`, choices, positional arguments and `type=bool` mean what they meant in the research code.
What click, typer, fire, absl or `sys.argv` read is put in the same words: a flag that turns an option off
(`--no-shuffle`, `--noamp`), one that may have a value (`--amp`, `--amp=false`), a value without its flag.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from bessemer.config.argument_files import with_files
from bessemer.errors import ProjectError, SettingsError, nearest

RECORD = "conversion.json"
_WORDS = {"true": True, "t": True, "yes": True, "y": True, "on": True, "1": True}
_WORDS |= {"false": False, "f": False, "no": False, "n": False, "off": False, "0": False}


def _truth(text: str) -> bool:
    if text.lower() not in _WORDS:
        raise ValueError(text)
    return _WORDS[text.lower()]


# For `bool`, any text that is not empty is True, as for argparse.
_TYPES: Mapping[str, Callable[[str], Any]] = {
    "int": int,
    "float": float,
    "str": str,
    "bool": bool,
    "Path": Path,
    "truth": _truth,
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


def research_values(root: Path, arguments: Sequence[str], folder: Path = Path()) -> dict[str, Any]:
    """Return the settings that a command line of the research code gives, by name.

    Args:
        root: folder of the converted project.
        arguments: what stood after the script's name.
        folder: where the research code is run, and the paths of files among the arguments begin.

    Raises:
        ProjectError: no conversion wrote down the options of the research code.
        SettingsError: argparse refuses the command line.
    """
    options = recorded_options(root)
    whole = next((x for x in options if x["spelling"]["nargs"] == argparse.REMAINDER), None)
    if whole is not None:
        return {whole["field"]: list(arguments)}
    parser = _parser(options)
    in_files = {option["name"] for option in options if option["spelling"].get("in_files")}
    words = with_files(arguments, in_files, folder) if in_files else arguments
    known, unknown = parser.parse_known_args(_with_flags(words, options))
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
    """Return the options of the research code's command line as the converter wrote them down.

    Constants that became settings are not among them: the research code reads them from nowhere.

    Raises:
        ProjectError: it did not.
    """
    file = root / RECORD
    try:
        options = json.loads(file.read_text(encoding="utf-8"))["options"]
        if all(option["field"] and "spelling" in option for option in options):
            return [option for option in options if option["spelling"]]
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
        if action == "switch":
            given |= {"action": "store", "type": _truth, "nargs": "?", "const": True}
        if action in ("store", "append"):
            given["type"] = _TYPES.get(spelling["type"], str)
            given["nargs"] = spelling["nargs"]
            given["choices"] = spelling["choices"] or None
        if spelling["flags"][0].startswith("-"):
            given |= {"dest": option["name"], "required": spelling["required"]}
        parser.add_argument(*spelling["flags"], **given)
        if spelling.get("off"):
            parser.add_argument(*spelling["off"], dest=option["name"], action="store_false")
    return parser


def _with_flags(arguments: Sequence[str], options: Sequence[Mapping[str, Any]]) -> list[str]:
    """Put its flag in front of each value that stands without one, for options that may be given by place."""
    named = {x.partition("=")[0] for x in arguments}
    placed = sorted(
        (
            x
            for x in options
            if x["spelling"].get("position") is not None and named.isdisjoint(x["spelling"]["flags"])
        ),
        key=lambda x: x["spelling"]["position"],
    )
    if not placed:
        return list(arguments)
    switches = {y for x in options if x["spelling"]["action"] == "switch" for y in x["spelling"]["flags"]}
    switches |= {y for x in options for y in x["spelling"].get("off", ())}
    words, found, position = list(arguments), [], 0
    while position < len(words):
        word = words[position]
        following = words[position + 1 : position + 2]
        has_value = bool(following) and (word not in switches or following[0].lower() in _WORDS)
        if word.startswith("-") and not _is_number(word):
            takes = [] if "=" in word or not has_value else following
            found += [word, *takes]
            position += 1 + len(takes)
        else:
            found.append(f"{placed.pop(0)['spelling']['flags'][0]}={word}" if placed else word)
            position += 1
    return found


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
