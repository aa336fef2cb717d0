"""Rules of style that the research code breaks are switched off in the emitted project, by name.

Its code is moved as it is, so `ruff check` would go on about what a researcher wrote (`l` as a name, an
unused variable). What would be the converter's own fault, such as an undefined name, is never switched off.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path

from bessemer.conversion.writing.tidying import ruff_command
from bessemer.errors import ConversionError

_EMPTY = "ignore = []"
# Names that are not there, syntax, and imports: these must be right.
_NEVER = ("E9", "F4", "F7", "F82", "I")


def accept_kept_style(folder: Path) -> None:
    """Name the rules that a project's code breaks in its own `pyproject.toml`.

    Args:
        folder: a project, formatted.

    Raises:
        ConversionError: ruff does not run.
    """
    command = [ruff_command(), "check", "--no-cache", "--output-format", "json", "."]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode not in (0, 1):
        raise ConversionError(f"ruff fails:\n{result.stderr}".strip())
    found = Counter(str(x["code"]) for x in json.loads(result.stdout) if x["code"])
    kept = {code: count for code, count in sorted(found.items()) if not code.startswith(_NEVER)}
    if not kept:
        return
    lines = [f'    "{code}",  # {count} in the research code' for code, count in kept.items()]
    file = folder / "pyproject.toml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(_EMPTY, "\n".join(["ignore = [", *lines, "]"]), 1), encoding="utf-8")
