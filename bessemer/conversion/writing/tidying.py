"""Brings a composed project into the shape that its own rules of style ask for.

Imports without a use go, since those of the research code were copied to wherever they may be needed. One
that is tried stays: whether it succeeds is what the program asks (`try: import google.colab`).
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import sysconfig
from collections import defaultdict
from pathlib import Path

from bessemer.errors import ConversionError

_UNUSED = "F401"
_KEPT = f"  # noqa: {_UNUSED}"


def tidy(folder: Path) -> None:
    """Sort the imports of a project, remove those without a use, and format it, by its own rules.

    Where that cannot be done, the line says so in a `noqa`.

    Raises:
        ConversionError: ruff is not there, or what was composed is no Python.
    """
    # Formatted first: imports in a line with other statements cannot be sorted.
    _ruff(folder, "format", "--quiet")
    _mark_tried_imports(folder)
    imports = ("check", "--quiet", "--exit-zero", "--select", f"I,{_UNUSED}")
    _ruff(folder, *imports, "--fix")
    _ruff(folder, "format", "--quiet")
    _ruff(folder, *imports, "--add-noqa")


def _mark_tried_imports(folder: Path) -> None:
    """Tell ruff to leave the imports in `try` statements that nothing else uses."""
    command = ["check", "--exit-zero", "--select", _UNUSED, "--output-format", "json"]
    lines: dict[str, set[int]] = defaultdict(set)
    for found in json.loads(_ruff(folder, *command)):
        if found["code"] == _UNUSED:
            lines[found["filename"]].add(found["location"]["row"])
    for name, unused in lines.items():
        file = folder / name
        text = file.read_text(encoding="utf-8")
        marked = unused & _tried_lines(text)
        if marked:
            parts = text.split("\n")
            file.write_text(
                "\n".join(x + _KEPT if i in marked else x for i, x in enumerate(parts, 1)), encoding="utf-8"
            )


def _tried_lines(text: str) -> set[int]:
    """Return the lines in the bodies of `try` statements that have handlers."""
    tried = [x for x in ast.walk(ast.parse(text)) if isinstance(x, ast.Try) and x.handlers]
    return {line for x in tried for y in x.body for line in range(y.lineno, (y.end_lineno or y.lineno) + 1)}


def _ruff(folder: Path, *arguments: str) -> str:
    """Run ruff in a folder, and return what it prints."""
    result = subprocess.run(
        [ruff_command(), *arguments, "--no-cache", "."],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if result.returncode != 0:
        raise ConversionError(
            f"ruff cannot read what was composed:\n{result.stdout}{result.stderr}".strip(),
            "valid Python; this is a fault of the converter",
            "report it together with the research code",
        )
    return result.stdout


def ruff_command() -> str:
    """Return the path of ruff.

    Raises:
        ConversionError: it is not installed beside this Python.
    """
    folders = [Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))]
    for folder in folders:
        for name in ("ruff", "ruff.exe"):
            if (folder / name).is_file():
                return str(folder / name)
    raise ConversionError(
        f"ruff is not installed beside {sys.executable}",
        "ruff, which formats the Python code that is written",
        'pip install "bessemer[convert]"',
    )
