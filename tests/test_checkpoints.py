"""Checkpoints are there whole or not at all, and a damaged one is passed over and that is said."""

from __future__ import annotations

import json
import shutil
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.errors import CheckpointError
from bessemer.training import checkpoints
from bessemer.training.checkpoints import FORMAT, CheckpointStore, State, comparison
from bessemer.training.copies import Copies
from runs import run_program


def state_of(step: int, **more: Any) -> State:
    return {"format": FORMAT, "step": step, "weight": torch.full((3,), float(step)), **more}


class Stores:
    """Opens stores on one folder, and closes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes: list[str] = []
        self.opened: list[CheckpointStore] = []

    def __call__(self, keep: int = 100, mode: str = "", url: str = "") -> CheckpointStore:
        better = comparison("loss" if mode else "", mode)
        self.opened.append(CheckpointStore(url or str(self.folder), keep, better, self.notes.append))
        return self.opened[-1]


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    made = Stores(tmp_path / "checkpoints")
    yield made
    for store in made.opened:
        store._executor.shutdown()


def save_all(store: CheckpointStore, metrics: dict[int, float | None]) -> None:
    for step, metric in metrics.items():
        store.save(state_of(step), step, metric)
    store.wait()


def steps_of(store: CheckpointStore) -> list[int]:
    return [saved.step for saved in store.complete()]


def folder_of(stores: Stores, step: int) -> Path:
    return stores.folder / f"step-{step:010d}"


# Whole or not at all


def test_a_checkpoint_comes_back_as_it_was_saved(stores: Stores) -> None:
    state = state_of(
        7,
        numbers=[1, 2.5, True, None, "text", 2**70],
        nested={"a": {3: torch.arange(3)}, "b": (1, 2)},
        half=torch.ones(2, dtype=torch.bfloat16),
    )
    store = stores()
    store.save(state, 7, 0.5)
    store.wait()
    found = stores().newest()
    assert found is not None
    saved, loaded = found
    assert (saved.step, saved.metric) == (7, 0.5)
    assert loaded["numbers"] == state["numbers"]
    assert loaded["nested"]["a"][3].tolist() == [0, 1, 2]
    assert loaded["nested"]["b"] == (1, 2)
    assert loaded["half"].dtype == torch.bfloat16


CONTAINERS = [Counter("aab"), OrderedDict(x=1), deque([1, 2]), {1, 2}, [], {}, ()]


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda container: type(container).__name__)
def test_every_container_of_the_standard_library_comes_back(stores: Stores, container: Any) -> None:
    store = stores()
    store.save(state_of(1, container=container), 1)
    store.wait()
    newest = store.newest()
    assert newest is not None
    assert type(newest[1]["container"]) is type(container)
    assert newest[1]["container"] == container


def test_a_folder_without_checkpoints_has_none(stores: Stores) -> None:
    store = stores()
    assert store.complete() == []
    assert store.newest() is None
    assert store.best() is None
    stores.folder.mkdir()
    assert store.newest() is None


def test_a_checkpoint_that_was_cut_off_does_not_count(stores: Stores) -> None:
    save_all(stores(), {1: None, 2: None})
    (folder_of(stores, 2) / "manifest.json").unlink()
    assert steps_of(stores()) == [1]
    newest = stores().newest()
    assert newest is not None
    assert newest[0].step == 1
    assert stores.notes == []


def test_the_manifest_is_written_last(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    store = stores()
    save_all(store, {1: None})
    for operation in ("open", "pipe_file", "mv", "makedirs"):
        attempt = Failing(getattr(store._fs, operation))
        monkeypatch.setattr(store._fs, operation, attempt)
        store.save(state_of(2), 2)
        with pytest.raises(CheckpointError):
            store.wait()
        assert attempt.calls
        assert steps_of(stores()) == [1]
        monkeypatch.undo()
    save_all(store, {2: None})
    assert steps_of(stores()) == [1, 2]


class Failing:
    """Does what it should and then fails, as a process that is killed in between."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.calls = 0

    def __call__(self, path: str, *arguments: Any, **options: Any) -> Any:
        if arguments == ("rb",) or options.get("mode") == "rb":
            return self.function(path, *arguments, **options)
        self.calls += 1
        if "manifest" not in path:
            self.function(path, *arguments, **options)
        raise OSError("No space left on device")


def test_a_second_checkpoint_of_a_step_that_fails_leaves_the_first_one(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stores()
    save_all(store, {1: None, 2: None})
    monkeypatch.setattr(store._fs, "pipe_file", Failing(store._fs.pipe_file))
    store.save(state_of(2, more="changed"), 2)
    with pytest.raises(CheckpointError):
        store.wait()
    assert steps_of(stores()) == [1, 2]
    newest = stores().newest()
    assert newest is not None
    assert "more" not in newest[1]


def test_a_second_checkpoint_of_a_step_is_the_newer_one(stores: Stores) -> None:
    store = stores()
    save_all(store, {3: 0.5})
    store.save(state_of(3, more="later"), 3, 0.25)
    store.wait()
    newest = stores().newest()
    assert newest is not None
    assert newest[1]["more"] == "later"
    assert [(saved.step, saved.metric) for saved in stores().complete()] == [(3, 0.5), (3, 0.25)]


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[]", b"null", b'{"step": 2}', b"\xff\xfe"])
def test_a_damaged_manifest_does_not_count_and_that_is_said(stores: Stores, content: bytes) -> None:
    save_all(stores(), {1: None, 2: None})
    (folder_of(stores, 2) / "manifest.json").write_bytes(content)
    newest = stores().newest()
    assert newest is not None
    assert newest[0].step == 1
    assert "step-0000000002" in stores.notes[0]


def test_other_files_and_folders_beside_checkpoints_are_left_alone(stores: Stores) -> None:
    save_all(stores(), {1: None})
    (stores.folder / "notes").mkdir()
    (stores.folder / "README").write_text("mine")
    (stores.folder / "step-of-mine").write_text("mine")
    store = stores(keep=1)
    save_all(store, {2: None})
    assert steps_of(store) == [2]
    assert {path.name for path in stores.folder.iterdir()} >= {"notes", "README", "step-of-mine"}


# Damage


@pytest.mark.parametrize("damage", ["flipped", "short", "empty", "gone"])
def test_a_damaged_state_falls_back_to_the_checkpoint_before_it_and_says_so(
    stores: Stores, damage: str
) -> None:
    save_all(stores(), {1: None, 2: None, 3: None})
    for step in (2, 3):
        file = folder_of(stores, step) / "state.pt"
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        contents = {"flipped": bytes(data), "short": bytes(data)[:-1], "empty": b""}
        file.unlink()
        if damage != "gone":
            file.write_bytes(contents[damage])
    newest = stores().newest()
    assert newest is not None
    assert newest[0].step == 1
    assert len(stores.notes) == 2
    assert "step-0000000003" in stores.notes[0]
    assert "going back to the checkpoint before it" in stores.notes[0]


def test_a_state_of_another_format_is_refused(stores: Stores) -> None:
    store = stores()
    save_all(store, {1: None})
    store.save({**state_of(2), "format": FORMAT + 1}, 2)
    store.wait()
    with pytest.raises(CheckpointError, match=f"has format {FORMAT + 1}"):
        store.load(store.complete()[-1])


def test_a_state_that_would_run_code_is_never_loaded(stores: Stores, tmp_path: Path) -> None:
    save_all(stores(), {1: None})
    file = folder_of(stores, 1) / "state.pt"
    torch.save({"format": FORMAT, "evil": Evil(str(tmp_path / "was-here"))}, file)
    manifest = folder_of(stores, 1) / "manifest.json"
    values = json.loads(manifest.read_text())
    values["sha256"] = checkpoints.hashlib.sha256(file.read_bytes()).hexdigest()  # type: ignore[attr-defined]
    manifest.write_text(json.dumps(values))
    store = stores()
    with pytest.raises(CheckpointError, match="cannot be loaded safely"):
        store.load(store.complete()[0])
    assert not (tmp_path / "was-here").exists()


class Evil:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path(self.path).touch, ()


class Own:
    """A value of the project's own class."""


@pytest.mark.parametrize(
    "value",
    [Own(), np.float64(1.0), np.zeros(2), lambda: 0, Path("x")],
    ids=["own", "numpy number", "array", "function", "path"],
)
def test_a_value_that_cannot_be_loaded_is_found_at_the_first_save(stores: Stores, value: Any) -> None:
    store = stores()
    store.save(state_of(1, value=value), 1)
    with pytest.raises(CheckpointError) as caught:
        store.wait()
    text = str(caught.value)
    assert "load" in text or "pickle" in text.lower()
    assert "float(x)" in caught.value.todo
    assert store.complete() == []


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
            best.accuracy = np.float64(0.5)

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
