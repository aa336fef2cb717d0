"""The drill without Ray: comparing runs, choosing moments, reading what a training prints."""

from __future__ import annotations

import math
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bessemer.config.deploy_settings import Deploy
from bessemer.config.settings import Settings
from bessemer.drill.command import Reference, Verdict, chosen_disturbances, judge, sigterm_exits
from bessemer.drill.comparison import (
    Difference,
    Point,
    Result,
    first_beyond,
    first_difference,
    first_of_other_steps,
    is_exact_enough,
)
from bessemer.drill.moments import Moment, choose, chosen, earlier
from bessemer.drill.on_cluster import Grounds, chosen_plans, drill_cluster
from bessemer.drill.submitted import Course
from bessemer.drill.table import show_verdicts
from bessemer.drill.training import checkpoints_in, newest_step, starts_in
from bessemer.errors import ClusterError, UserError

POINTS: tuple[Point, ...] = (("loss", 1, 0.5), ("loss", 2, 0.25), ("epoch/duration_s", 2, 3.0))


def result(points: tuple[Point, ...] = POINTS, step: int = 2, **tracked: Any) -> Result:
    return Result(points, tracked, step)


def weights(*values: float, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    return {"weight": torch.tensor(values, dtype=dtype)}


def test_equal_runs_have_no_difference_whatever_their_times_are() -> None:
    other = (
        ("system/cpu", 1, 7.0),
        ("timing/x", 1, 1.0),
        ("usage/steps_s", 2, 1.0),
        *reversed(POINTS[:2]),
        ("epoch/duration_s", 2, 9.0),
    )
    ours = result(model=weights(1.0, math.nan), optimizer={"state": {0: {"step": 2}}, "groups": [1, None]})
    theirs = result(
        other, model=weights(1.0, math.nan), optimizer={"state": {0: {"step": 2}}, "groups": [1, None]}
    )
    assert first_difference(ours, theirs) is None


def test_the_first_difference_in_the_order_of_steps_is_named_with_both_values() -> None:
    ours = result((("a", 2, 1.0), ("z", 1, 1.0)))
    theirs = result((("a", 2, 9.0), ("z", 1, math.nextafter(1.0, 2.0))))
    assert first_difference(ours, theirs) == Difference("z at step 1", "1.0", "1.0000000000000002")


def test_a_point_that_is_missing_or_logged_twice_is_a_difference() -> None:
    missing = first_difference(result(), result(POINTS[:1]))
    twice = first_difference(result(), result((*POINTS, ("loss", 2, 0.25))))
    assert missing == Difference("loss at step 2", "0.25", "nothing")
    assert twice == Difference("loss at step 2", "0.25", "0.25, 0.25")


def test_values_logged_twice_on_purpose_may_come_in_any_order() -> None:
    ours, theirs = (("loss", 1, 0.5), ("loss", 1, 0.7)), (("loss", 1, 0.7), ("loss", 1, 0.5))
    assert first_difference(result(ours), result(theirs)) is None


def test_a_nan_equals_a_nan_and_zero_does_not_equal_minus_zero() -> None:
    assert first_difference(result((("x", 1, math.nan),)), result((("x", 1, math.nan),))) is None
    assert first_difference(result((("x", 1, 0.0),)), result((("x", 1, -0.0),))) is not None


def test_one_bit_in_one_weight_is_found_and_counted() -> None:
    theirs = result(model=weights(1.0, float(torch.nextafter(torch.tensor(2.0), torch.tensor(3.0))), 4.0))
    found = first_difference(result(model=weights(1.0, 2.0, 3.0)), theirs)
    assert found is not None
    assert found.where == "model.weight[1] and 1 more"
    assert (found.reference, found.found) == ("2.0", "2.000000238418579")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"a": torch.zeros(2)}, {"a": torch.zeros(3)}),
        ({"a": torch.zeros(2)}, {"a": torch.zeros(2, dtype=torch.float64)}),
        ({"a": torch.zeros(2)}, {}),
        ({}, {"a": torch.zeros(2)}),
        ({"a": 1}, {"a": 1.0}),
        ({"a": [1, 2]}, {"a": [1, 3]}),
        ({"a": torch.tensor(1)}, {"a": torch.tensor(2)}),
        ({"a": torch.tensor([0.0])}, {"a": torch.tensor([-0.0])}),
    ],
)
def test_state_of_another_shape_type_or_value_differs(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert first_difference(result(model=ours), result(model=theirs)) is not None


def test_another_number_of_steps_is_a_difference_even_if_all_else_is_equal() -> None:
    found = first_difference(result(), result(step=3))
    assert found == Difference("steps of the last checkpoint", "2", "3")


def test_a_tolerance_forgives_rounding_and_nothing_else() -> None:
    double = torch.float64
    ours = result((("loss", 1, 1.0),), model=weights(1.0, dtype=double))
    near = result((("loss", 1, 1.0 + 1e-12),), model=weights(1.0 + 1e-12, dtype=double))
    far = result((("loss", 1, 1.0),), model=weights(1.0 + 1e-6, dtype=double))
    assert first_beyond(ours, near, 1e-9) is None
    assert first_difference(ours, near) is not None
    assert first_beyond(ours, far, 1e-9) is not None


def test_where_values_cannot_agree_the_logged_steps_are_compared() -> None:
    assert first_of_other_steps(result(), result((("loss", 1, 7.0), ("loss", 2, 8.0)))) is None
    assert first_of_other_steps(result(), result((("loss", 1, 7.0),))) is not None


def test_only_float64_is_exact_enough_for_another_number_of_workers() -> None:
    assert is_exact_enough({"model": weights(1.0, 2.0, dtype=torch.float64), "step": torch.tensor(3.0)})
    assert not is_exact_enough({"model": weights(1.0, 2.0)})


@pytest.mark.parametrize(
    ("draws", "dtype", "word"),
    [
        (False, torch.float64, "different"),
        (True, torch.float64, "same steps"),
        (False, torch.float32, "same steps"),
    ],
)
def test_after_a_change_of_workers_the_verdict_says_what_was_compared(
    draws: bool, dtype: torch.dtype, word: str
) -> None:
    ours, theirs = result(model=weights(1.0, 2.0, dtype=dtype)), result(model=weights(1.0, 2.1, dtype=dtype))
    reference = Reference(ours, draws, Verdict("reference", "reference"))
    found, text = judge(reference, theirs, rescaled=True)
    assert found == word
    assert text
    assert judge(reference, theirs, rescaled=False)[0] == "different"


@given(st.integers(0, 10**6), st.integers(1, 10_000), st.integers(0, 500))
def test_a_moment_lies_in_the_run_and_depends_on_the_seed_alone(seed: int, steps: int, every: int) -> None:
    moment = choose(random.Random(seed), steps, every)
    assert 0 <= moment.after_step < steps
    assert moment.after_step <= max(0, steps - every)
    assert 0 <= moment.fraction < 1
    assert moment == choose(random.Random(seed), steps, every)


def test_a_strike_that_came_too_late_comes_earlier_and_at_last_at_the_start() -> None:
    moment = Moment(90, 0.8, 0.5)
    for _ in range(3):
        assert earlier(moment).after_step < moment.after_step
        assert earlier(moment).fraction < moment.fraction
        moment = earlier(moment)
    assert earlier(Moment(1, 0.0, 0.0)).after_step == 0


def test_every_worker_can_be_chosen() -> None:
    assert [chosen(Moment(0, 0, choice), ["a", "b"]) for choice in (0.0, 0.49, 0.5, 0.99)] == [*"aabb"]


def test_the_steps_that_attempts_went_on_from_are_read_from_what_training_prints() -> None:
    lines = [
        "model Net: 12 parameters, 0.0 MiB",
        "training on 2 x cpu",
        "epoch 1/3  train/loss 0.5",
        "attempt 2: workers restarted, training goes on from the start",
        "attempt 3: workers restarted, training goes on from step 14",
        "training on 2 x cpu, from step 21",
    ]
    assert starts_in(lines) == [0, 0, 14, 21]


def test_only_complete_checkpoints_count(tmp_path: Path) -> None:
    for step, files in ((7, ["state.pt", "manifest.json"]), (14, ["state.pt"])):
        folder = tmp_path / "checkpoints" / f"step-{step:010d}"
        folder.mkdir(parents=True)
        for name in files:
            (folder / name).write_text("")
    assert newest_step(tmp_path) == 7
    assert len(checkpoints_in(tmp_path)) == 1
    assert newest_step(tmp_path / "nothing") == 0


def test_a_misspelt_disturbance_is_named_with_the_nearest_one() -> None:
    with pytest.raises(UserError, match="did you mean worker-kill"):
        chosen_disturbances(["worker-kil"])
    assert [one.name for one in chosen_disturbances(["sigterm"])] == ["sigterm"]
    assert len({one.name for one in chosen_disturbances([])}) == 9


def test_the_table_says_what_differs_and_what_does_not_apply() -> None:
    console = Console(record=True, width=160)
    verdicts = [
        Verdict("reference", "reference", "480 steps", 1, 0, 12.0),
        Verdict("worker-kill", "different", "loss at step 2: 0.25 undisturbed, 0.5 here", 2, 3, 20.0),
        Verdict("disk-full", "not applicable", "a small disk cannot be mounted here"),
    ]
    show_verdicts(console, verdicts, Path("runs/drills/x"))
    text = console.export_text()
    assert "loss at step 2: 0.25 undisturbed, 0.5 here" in text
    assert "about 3" in text
    assert "a small disk cannot be mounted here" in text
    assert "0 of 1 disturbances changed nothing" in text
    assert "runs/drills/x" in text


def test_every_image_that_a_drill_needs_is_looked_for_before_its_first_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = tmp_path / "docker"
    engine.write_text('#!/bin/sh\ncase "$*" in *:dev-*) exit 1;; "image inspect "*) exit 0;; esac\nexit 2\n')
    engine.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    plans = chosen_plans([], [], [], seed=0)
    course = Course("gan", "gan", (), every_steps=7, limit_s=1.0)
    with pytest.raises(ClusterError, match="there is no image ours:dev-1 on this machine") as raised:
        drill_cluster(Grounds(Deploy(), 3, "ours:1"), course, Settings(), plans, lambda verdict: None)
    assert raised.value.todo == "`make build-dev`"


def test_who_is_asked_to_end_ends_what_it_started_first() -> None:
    before = signal.getsignal(signal.SIGTERM)
    ended = []

    def drill() -> None:
        with sigterm_exits():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(10)
            finally:
                ended.append("the cluster")

    with pytest.raises(SystemExit) as raised:
        drill()
    assert raised.value.code == 143
    assert ended == ["the cluster"]
    assert signal.getsignal(signal.SIGTERM) is before
