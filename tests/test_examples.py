"""Each example makes its data and learns from them, in this process; on Ray in `tests/integration`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from bessemer.config.loading import load_settings
from bessemer.config.project import read_project, resolve_function
from bessemer.data.preprocessing import stage_of
from bessemer.training.preparation import prepare_project
from runs import run_program

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.mark.parametrize("name", sorted(file.parent.name for file in EXAMPLES.glob("*/pyproject.toml")))
def test_an_example_learns_from_its_one_declaration(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    project = read_project(EXAMPLES / name)
    # One range of items: nothing here starts Ray.
    arguments = ["--data.source", "inline", "--preparation.shard-bytes", str(2**26)]
    settings = load_settings(project.settings_class(), arguments, {}, project.settings_file)
    download = stage_of(project, "download")
    if download is not None:
        download(settings.settings)
    if settings.settings.preparation.source:
        prepare_project(project.entry, settings.settings, [str(project.root)], lambda *_: None)
    program = resolve_function(project.entry, [str(project.root)])
    ran = run_program(lambda run: program(run, settings.settings), tmp_path, settings.settings)
    losses = ran.values("train/loss")
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    assert len(ran.rows) == 5
    assert "train" in settings.settings.data.sources
