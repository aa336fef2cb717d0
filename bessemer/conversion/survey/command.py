"""The `analyze` verb: says what research code is, and neither runs nor converts it."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from bessemer.conversion.survey import survey
from bessemer.conversion.survey.show import show


def analyze_and_report(source: Path, json_output: bool, console: Console) -> bool:
    """Survey a source and print what was found; return whether anything could be read.

    Raises:
        SourceError: there is no such file or folder.
    """
    found = survey(source)
    if json_output:
        print(found.to_json())
    else:
        show(console, found)
    return found.files.num_read > 0
