"""Which checkpoints are kept, and how they are written while training goes on."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.errors import CheckpointError
from bessemer.training.copies import Copies
from runs import run_program
from stores import Failing, Stores, save_all, state_of, steps_of

# What is kept


@pytest.mark.parametrize(
    ("keep", "mode", "metrics", "kept"),
    [
        (2, "", {1: 0.1, 2: 0.2, 3: 0.3}, [2, 3]),
        (1, "", {1: None, 2: None}, [2]),
        (1, "min", {1: 0.3, 2: 0.1, 3: 0.2}, [2, 3]),
        (1, "max", {1: 0.3, 2: 0.1, 3: 0.2}, [1, 3]),
        (2, "min", {1: 0.1, 2: 0.4, 3: 0.3, 4: 0.2}, [1, 3, 4]),
        (1, "min", {1: None, 2: 0.5, 3: None}, [2, 3]),
        (1, "min", {1: float("nan"), 2: 0.5, 3: float("nan")}, [2, 3]),
        (1, "min", {1: 0.5, 2: 0.5, 3: 0.5}, [1, 3]),
        (1, "max", {1: float("inf"), 2: 0.5}, [1, 2]),
    ],
)
def test_the_newest_checkpoints_and_the_best_are_kept(
    stores: Stores, keep: int, mode: str, metrics: dict[int, float | None], kept: list[int]
) -> None:
    store = stores(keep=keep, mode=mode)
    save_all(store, metrics)
    assert steps_of(store) == kept
    assert sorted(path.name for path in stores.folder.iterdir()) == [f"step-{step:010d}" for step in kept]


def test_the_best_checkpoint_is_told(stores: Stores) -> None:
    save_all(stores(mode="min"), {1: 0.3, 2: 0.1, 3: 0.2})
    assert [stores(mode=mode).best().step for mode in ("min", "max")] == [2, 1]  # type: ignore[union-attr]
    without = stores().best()
    assert without is not None
    assert without.step == 3


def test_without_any_value_the_newest_is_the_best(stores: Stores) -> None:
    save_all(stores(mode="min"), {1: None, 2: float("nan")})
    best = stores(mode="min").best()
    assert best is not None
    assert best.step == 2


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.none() | st.floats(-5, 5) | st.just(float("nan")), min_size=1, max_size=6),
    st.integers(1, 3),
    st.sampled_from(["min", "max"]),
)
def test_the_best_survives_whatever_the_metrics_are(
    tmp_path_factory: pytest.TempPathFactory, metrics: list[float | None], keep: int, mode: str
) -> None:
    stores = Stores(tmp_path_factory.mktemp("kept"))
    store = stores(keep=keep, mode=mode)
    save_all(store, dict(enumerate(metrics, start=1)))
    store.close()
    kept = steps_of(store)
    assert kept[-keep:] == list(range(1, len(metrics) + 1))[-keep:]
    values = {s: m for s, m in enumerate(metrics, start=1) if m is not None and m == m}
    if values:
        best = (min if mode == "min" else max)(values.values())
        assert any(values.get(step) == best for step in kept)
    assert len(kept) <= keep + 1
    shutil.rmtree(stores.folder)


# Writing


def test_a_state_is_copied_before_training_goes_on(stores: Stores) -> None:
    store = stores()
    weight = torch.zeros(1000)
    released = threading.Event()
    store._executor.submit(wait_for, released)  # the disk is busy
    store.save(state_of(1, weight=weight, list=[weight]), 1)
    weight += 1
    released.set()
    store.wait()
    newest = store.newest()
    assert newest is not None
    assert newest[1]["weight"].sum() == 0
    assert newest[1]["list"][0].sum() == 0


def test_a_checkpoint_does_not_count_before_what_it_waits_for(stores: Stores) -> None:
    store, released = stores(), threading.Event()
    store.save(state_of(1), 1, before=lambda: wait_for(released))
    assert stores().complete() == []
    released.set()
    store.wait()
    assert steps_of(stores()) == [1]


def wait_for(event: threading.Event) -> None:
    assert event.wait(10)


def test_storage_that_cannot_be_written_is_a_checkpoint_error_with_what_to_do(
    stores: Stores, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    store = stores(url=str(tmp_path / "file" / "checkpoints"))
    store.save(state_of(1), 1)
    with pytest.raises(CheckpointError, match="at step 1 cannot be written") as caught:
        store.wait()
    assert "checkpoint.storage_path" in caught.value.todo


def test_a_failed_write_is_told_at_the_next_save_at_the_latest(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stores()
    monkeypatch.setattr(store._fs, "pipe_file", Failing(store._fs.pipe_file))
    store.save(state_of(1), 1)
    with pytest.raises(CheckpointError, match="No space left"):
        store.save(state_of(2), 2)


def test_closing_waits_for_the_last_checkpoint(stores: Stores) -> None:
    store = stores()
    store.save(state_of(1), 1)
    store.close()
    assert steps_of(stores()) == [1]


def test_closing_tells_a_failed_write(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    store = stores()
    monkeypatch.setattr(store._fs, "pipe_file", Failing(store._fs.pipe_file))
    store.save(state_of(1), 1)
    with pytest.raises(CheckpointError):
        store.close()


def test_a_store_may_be_any_file_system(stores: Stores) -> None:
    store = stores(url="memory://bessemer/checkpoints", keep=2)
    save_all(store, {1: None, 2: None, 3: None})
    again = stores(url="memory://bessemer/checkpoints")
    assert steps_of(again) == [2, 3]
    newest = again.newest()
    assert newest is not None
    assert newest[1]["weight"].tolist() == [3.0, 3.0, 3.0]


def test_a_carried_value_that_cannot_be_saved_ends_the_run_with_its_reason(
    stores: Stores, tmp_path: Path
) -> None:
    store = stores()

    def program(run: Any) -> None:
        best = run.carry(accuracy=0.0)
        for _ in run.epochs(3):
            best.accuracy = np.array([best])

    with pytest.raises(CheckpointError, match="float"):
        run_program(program, tmp_path, store=store)


def test_the_memory_of_a_copy_is_used_again_and_a_changed_state_is_copied_whole() -> None:
    copies = Copies()
    state: dict[str, Any] = {"a": torch.ones(3), "b": [torch.zeros(2, 2), 5], "t": torch.ones(2, 3).t()}
    first = copies.of(state)
    places = first["a"].data_ptr(), first["b"][0].data_ptr(), first["t"].data_ptr()
    state["a"].add_(1)
    again = copies.of(state)
    assert (again["a"].data_ptr(), again["b"][0].data_ptr(), again["t"].data_ptr()) == places
    assert again["a"].tolist() == [2, 2, 2]
    other = {"a": torch.ones(4), "b": [torch.zeros(2, 2, dtype=torch.int64), 5], "t": torch.ones(3, 2)}
    for name, value in copies.of(other).items():
        assert str(value) == str(other[name])
    assert copies.of({}) == {}


@pytest.mark.parametrize("made", [lambda: torch.ones(3).to_sparse(), lambda: torch.ones(1, 3).expand(4, 3)])
def test_unusual_tensors_are_copied_too(made: Callable[[], torch.Tensor]) -> None:
    copies, value = Copies(), made()
    for _ in range(2):
        copied = copies.of([value])[0]
        assert torch.equal(copied.to_dense(), value.to_dense())
        assert copied is not value
