"""Figures of a search show what there is, and say what matters."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from bessemer.search.figures import draw, importance
from bessemer.search.space import Choices, Range, Space
from bessemer.search.study import Trial
from searches import question

SPACE: Space = {"lr": Range(0.01, 1.0, log=True), "kind": Choices(("a", "b")), "width": Range(2, 64)}


def trials(num: int) -> list[Trial]:
    generator = np.random.default_rng(0)
    made = []
    for number in range(num):
        lr = float(np.exp(generator.uniform(np.log(0.01), 0)))
        values = {"lr": lr, "kind": "ab"[number % 2], "width": int(generator.integers(2, 64))}
        losses = {turn: abs(math.log10(lr) + 1) + 1 / turn for turn in (1, 2, 3)}
        made.append(Trial(number, values, 0.0, losses=losses, state="done", turns=3, num_turns=3))
    return made


def test_what_was_searched_is_drawn(tmp_path: Path) -> None:
    some = trials(6)
    some[1].state, some[2].state, some[3].losses = "stopped", "failed", {1: math.inf, 2: math.inf}
    files = draw(question(SPACE), some, tmp_path)
    names = ["learning-curves.png", "best-so-far.png", "parallel-coordinates.png", "importance.png"]
    assert [file.name for file in files] == names
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)


def test_nothing_is_drawn_of_nothing(tmp_path: Path) -> None:
    assert draw(question(SPACE), [], tmp_path) == []
    assert draw(question(SPACE), [Trial(0, {"lr": 0.1, "kind": "a", "width": 2}, 0.0)], tmp_path) == []


def test_what_decides_is_named_first() -> None:
    shares = importance(question(SPACE), trials(40))
    assert next(iter(shares)) == "lr"
    assert shares["lr"] > 0.7


def test_importance_needs_trials_that_differ() -> None:
    assert importance(question(SPACE), trials(3)) == {}
    same = trials(6)
    for trial in same:
        trial.losses = {1: 1.0}
    assert importance(question(SPACE), same) == {}
