"""Checkpoints are there whole or not at all, and a damaged one is passed over and that is said."""

from __future__ import annotations

import json
from collections import Counter, OrderedDict, deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bessemer.errors import CheckpointError
from bessemer.training import checkpoints
from bessemer.training.checkpoints import FORMAT
from stores import Failing, Stores, folder_of, save_all, state_of, steps_of

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


@pytest.mark.parametrize("kind", ["?", "i1", "i4", "i8", "u2", "u8", "f2", "f4", "f8", "c8", "U1", "S1"])
def test_numbers_and_arrays_of_numpy_come_back_as_they_were(stores: Stores, kind: str) -> None:
    store, values = stores(), np.ones((2, 3), dtype=kind)
    store.save(state_of(1, losses=[values, values[0, 0], np.array(values[0, 0])]), 1)
    values[:] = np.zeros((), dtype=kind)  # the program goes on while the checkpoint is written
    store.wait()
    newest = store.newest()
    assert newest is not None
    table, number, single = newest[1]["losses"]
    before = np.ones((2, 3), dtype=kind)
    assert np.array_equal(table, before)
    assert (table.dtype, number.dtype, single.dtype) == (before.dtype,) * 3
    assert (number, single[()]) == (before[0, 0], before[0, 0])


@pytest.mark.parametrize(
    "value",
    [Own(), np.array([None]), lambda: 0, Path("x")],
    ids=["own", "array of objects", "function", "path"],
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
