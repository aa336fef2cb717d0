"""What a run was made from, as tags: the commit, the lock file, the source that was converted."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

_GIT_TIMEOUT_S = 10


def provenance(root: Path, source_sha256: str) -> dict[str, str]:
    """Return tags for a project's run.

    Args:
        root: the project's folder; its git repository and lock file are looked up from there.
        source_sha256: hash of the research code that it was converted from, or "".
    """
    tags = {"bessemer.source_sha256": source_sha256} if source_sha256 else {}
    commit = _git(root, "rev-parse", "HEAD")
    if commit:
        dirty = _git(root, "status", "--porcelain", "--untracked-files=no")
        tags["mlflow.source.git.commit"] = commit
        tags["bessemer.git_dirty"] = str(bool(dirty)).lower()
    lock = root / "requirements.lock"
    if lock.is_file():
        tags["bessemer.lock_sha256"] = hashlib.sha256(lock.read_bytes()).hexdigest()
    return tags


def _git(folder: Path, *arguments: str) -> str:
    try:
        result = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return result.stdout.strip()
