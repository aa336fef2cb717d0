"""Runs at a URL of object storage, for the tests of several files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bessemer.config.settings import Settings
from bessemer.training.checkpoints import CheckpointStore, Saved
from bessemer.training.home import Home
from bessemer.training.lease import Claim
from stores import state_of

URL = "s3://data/runs"
RUN = f"{URL}/digits/first"


def settings_at(url: str = URL, **tracking: Any) -> Settings:
    return Settings.model_validate({"checkpoint": {"storage_path": url}, "tracking": tracking})


def saved_at(store: CheckpointStore, *steps: int, before: Callable[[], None] = lambda: None) -> list[Saved]:
    for step in steps:
        store.save(state_of(step), step, before=before)
    store.wait()
    return store.complete()


def home_on(node: Path, claim: Claim | None = None) -> Home:
    return Home(RUN, node, claim=claim)


def written(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def files_of(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Go on as on another machine, whose disk has nothing of any run."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))


def forget_file_systems() -> None:
    """Have file systems made anew: one that is known reaches the address that it was made with."""
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()
