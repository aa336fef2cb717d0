"""The verdict that a project keeps of its last verification, and whether it is of the code as it is now."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from bessemer.config.project import read_project
from bessemer.errors import ProjectError
from bessemer.proof.command import REPORT_FILE, code_fingerprint


@dataclass(frozen=True)
class Proof:
    """A recorded verdict.

    Attributes:
        verdict: as `bessemer verify` gave it.
        reason: of the verdict.
        is_of_this_code: whether the project's package is as it was then.
    """

    verdict: str
    reason: str
    is_of_this_code: bool


def recorded_proof(root: Path) -> Proof | None:
    """Return what `bessemer verify` recorded in a project, or None if it has not been run.

    Raises:
        ProjectError: there is no project, or its record cannot be read.
    """
    project = read_project(root.resolve())
    file = project.root / REPORT_FILE
    if not file.is_file():
        return None
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        is_current = found.get("code_sha256") == code_fingerprint(project)
        return Proof(found["verdict"], found["reason"], is_current)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ProjectError(
            f"{file} cannot be read: {error!r}", "what `bessemer verify` wrote", "bessemer verify"
        ) from error
