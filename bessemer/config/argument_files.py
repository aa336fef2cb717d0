"""Python files of assignments that stand on a command line, as in `train.py config/small.py --epochs=2`.

The research code would execute such a file; here it is read. What it assigns becomes `--name=value` in its
place, so that what stands behind it on the command line goes first.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Sequence
from pathlib import Path

from bessemer.config.literals import literal
from bessemer.errors import SettingsError, nearest


def with_files(arguments: Sequence[str], names: Collection[str], folder: Path) -> list[str]:
    """Put what files assign in the place of the files.

    Args:
        arguments: a command line; what does not begin with a hyphen is the path of a file.
        names: the options that there are.
        folder: where paths begin.

    Raises:
        SettingsError: a file is not there, is no Python, sets what is no option, or computes a value that
            the rest of the command line does not give.
    """
    found: list[str] = []
    for index, word in enumerate(arguments):
        if word.startswith("-"):
            found.append(word)
            continue
        later = {x.partition("=")[0].lstrip("-") for x in arguments[index + 1 :]}
        found += _assigned(folder / word, names, later)
    return found


def _assigned(file: Path, names: Collection[str], later: Collection[str]) -> list[str]:
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError) as error:
        raise SettingsError(
            f"the research arguments name {file}, which cannot be read: {error}",
            expected="options as --name=value, and Python files that assign them",
            todo="correct the path; it begins where the research code is run",
        ) from None
    found = []
    for statement in tree.body:
        if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Name):
            continue
        name = statement.targets[0].id
        if name not in names:
            raise SettingsError(
                f"{file}:{statement.lineno} sets {name}, which is no option of the converted program",
                expected=nearest(name, names) or f"one of {', '.join(sorted(names))}",
                todo=f"take the line out, if {name} is not needed",
            )
        try:
            found.append(f"--{name}={literal(statement.value)}")
        except ValueError:
            if name not in later:
                raise SettingsError(
                    f"{file}:{statement.lineno} computes {name}: {ast.unparse(statement.value)}",
                    expected="a number, a text, True or False",
                    todo=f"give --{name}=... behind the file",
                ) from None
    return found
