"""A run in this process leaves it as it was, so that the next one begins as in a fresh one."""

from __future__ import annotations

import os
import random
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from bessemer.training.here import settled

MODULE = "a_module_of_a_trial"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / f"{MODULE}.py").write_text("seen = []\n")
    return tmp_path


def test_modules_of_the_project_are_forgotten_with_their_globals(project: Path) -> None:
    for _ in range(2):
        with settled([str(project)]):
            sys.path.insert(0, str(project))
            module = __import__(MODULE)
            assert module.seen == []
            module.seen.append(1)
        assert MODULE not in sys.modules
        assert str(project) not in sys.path


def test_folder_arguments_and_environment_are_put_back(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEPT", "before")
    before = (os.getcwd(), list(sys.argv), dict(os.environ))
    with settled([]):
        os.chdir(project)
        sys.argv.append("--more")
        os.environ["KEPT"] = "changed"
        os.environ["NEW"] = "1"
    assert (os.getcwd(), list(sys.argv), dict(os.environ)) == before


def test_generators_and_flags_are_put_back_also_after_an_error() -> None:
    def drawn() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    @settled([])
    def fail() -> None:
        drawn()
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.use_deterministic_algorithms(True)
        warnings.simplefilter("ignore")
        raise ValueError

    with settled([]):
        expected = drawn()
    with pytest.raises(ValueError):
        fail()
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    with settled([]):
        assert drawn() == expected
