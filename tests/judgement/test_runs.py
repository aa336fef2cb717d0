"""Runs are found by name: the newest, one of many, and a trial of a search."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bessemer.config.settings import Settings
from bessemer.errors import ProjectError
from bessemer.judgement.runs import find_run


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for at, name in enumerate(("first", "second", "search/trial-0001")):
        checkpoints = tmp_path / "p" / name / "checkpoints"
        checkpoints.mkdir(parents=True)
        (checkpoints / "step-0000000001").mkdir()
        os.utime(checkpoints.parent, (at, at))
    return Settings.model_validate({"checkpoint": {"storage_path": str(tmp_path)}})


def test_the_newest_run_is_no_trial(settings: Settings) -> None:
    assert find_run(settings, "p").name == "second"


def test_a_run_is_found_by_its_name(settings: Settings) -> None:
    assert find_run(settings, "p", "first").name == "first"


def test_a_trial_is_found_by_its_search_and_its_own_name(settings: Settings, tmp_path: Path) -> None:
    assert find_run(settings, "p", "search/trial-0001") == tmp_path / "p" / "search" / "trial-0001"


def test_another_name_is_refused_with_the_nearest(settings: Settings) -> None:
    with pytest.raises(ProjectError) as caught:
        find_run(settings, "p", "frst")
    assert caught.value.expected == "did you mean first?"
    with pytest.raises(ProjectError, match="search/trial-0009"):
        find_run(settings, "p", "search/trial-0009")
