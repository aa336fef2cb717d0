"""What a dead worker's file says: which batch it was at and which samples were in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, WeightedRandomSampler

from bessemer.data.order import CanonicalPlan, ListedPlan, share_of
from bessemer.training.last_words import opened_position
from bessemer.training.positions import MAX_LISTED_IDS, PositionFile, read_position
from bessemer.training.run import Run
from bessemer.training.session import Session, closing
from bessemer.training.surroundings import Surroundings
from bessemer.utils.collectives import Group
from runs import settings_with

PLAN = CanonicalPlan(num_samples=103, batch_size=10, shuffle=True, drop_last=False, key=2**64 - 5)


def written(tmp_path: Path, rank: int = 0, world_size: int = 1) -> tuple[Path, PositionFile]:
    path = tmp_path / "positions" / f"worker-{rank}.bin"
    return path, PositionFile(path, rank, world_size, attempt=2)


def test_the_sample_ids_of_every_batch_are_those_that_the_worker_was_given(tmp_path: Path) -> None:
    for rank in range(3):
        path, file = written(tmp_path, rank, 3)
        for number in range(2):
            for batch in range(PLAN.steps_per_pass):
                file.write(7, 1, number, batch, PLAN)
                found = read_position(path)
                assert found is not None
                whole = PLAN.batch(number, batch)
                start, stop = share_of(len(whole), rank, 3)
                assert (found.step, found.loader, found.number, found.batch) == (7, 1, number, batch)
                assert found.ids is not None
                np.testing.assert_array_equal(found.ids, whole[start:stop])
                assert found.num_ids == stop - start


def test_a_loader_that_is_not_shared_gives_every_worker_the_whole_batch(tmp_path: Path) -> None:
    path, file = written(tmp_path, 2, 3)
    file.write(0, 0, 0, 4, PLAN, shard=False)
    found = read_position(path)
    assert found is not None
    assert found.ids is not None
    np.testing.assert_array_equal(found.ids, PLAN.batch(0, 4))


def test_the_batches_of_a_sampler_of_the_programs_own_are_written_down(tmp_path: Path) -> None:
    path, file = written(tmp_path, 1, 2)
    plan = ListedPlan(((5, 3, 8), (1, 9, 9, 2), tuple(range(3 * MAX_LISTED_IDS))))
    file.write(0, 0, 6, 1, plan)
    found = read_position(path)
    assert found is not None
    assert found.ids is not None
    assert found.ids.tolist() == [9, 2]
    file.write(0, 0, 6, 2, plan)
    found = read_position(path)
    assert found is not None
    assert found.ids is not None
    assert len(found.ids) == MAX_LISTED_IDS
    assert found.num_ids == 3 * MAX_LISTED_IDS // 2


def test_ids_that_nobody_knows_are_not_made_up(tmp_path: Path) -> None:
    path, file = written(tmp_path)
    file.write(3, 0, 0, 1, PLAN)
    file.write(4, 1, 0, 0, None)
    found = read_position(path)
    assert found is not None
    assert (found.step, found.loader, found.ids) == (4, 1, None)
    file.write(5)
    found = read_position(path)
    assert found is not None
    assert (found.step, found.loader, found.ids) == (5, None, None)
    assert found.place == "outside of loops over loaders"


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_a_write_that_was_cut_off_is_not_misread(tmp_path: Path, cut: int) -> None:
    path, file = written(tmp_path)
    file.write(3, 0, 0, 3, PLAN)
    before = path.read_bytes()
    file.write(4, 0, 1, 4, PLAN)
    after = path.read_bytes()
    changed = [n for n, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    torn = bytearray(before)
    for n in changed:
        if n < changed[0] + cut:
            torn[n] = after[n]
    if bytes(torn) == after:
        return
    path.write_bytes(bytes(torn))
    found = read_position(path)
    assert found is not None
    assert (found.step, found.number, found.batch) == (3, 0, 3)


def test_a_file_that_is_not_one_says_nothing(tmp_path: Path) -> None:
    assert read_position(tmp_path / "none.bin") is None
    (tmp_path / "short.bin").write_bytes(b"BESSPOS1")
    assert read_position(tmp_path / "short.bin") is None
    (tmp_path / "other.bin").write_bytes(b"x" * 10_000)
    assert read_position(tmp_path / "other.bin") is None


def test_what_a_worker_wrote_before_sigkill_is_there(tmp_path: Path) -> None:
    path = tmp_path / "worker-0.bin"
    code = f"""
    import os, signal
    from pathlib import Path
    from bessemer.data.order import CanonicalPlan
    from bessemer.training.positions import PositionFile
    file = PositionFile(Path({str(path)!r}), 0, 1, 1)
    plan = CanonicalPlan(1000, 10, True, False, 7)
    for batch in range(42):
        file.write(batch, 0, 3, batch, plan)
    os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    found = read_position(path)
    assert found is not None
    assert found.ids is not None
    assert (found.step, found.batch, found.state) == (41, 41, "running")
    assert found.pid != os.getpid()
    np.testing.assert_array_equal(found.ids, CanonicalPlan(1000, 10, True, False, 7).batch(3, 41))


def test_what_became_of_a_worker_is_kept_with_its_place(tmp_path: Path) -> None:
    path, file = written(tmp_path)
    file.write(3, 0, 0, 3, PLAN)
    file.mark("hung")
    found = read_position(path)
    assert found is not None
    assert (found.state, found.step, found.attempt) == ("hung", 3, 2)


def test_who_dies_on_the_way_back_to_a_checkpoint_died_after_its_step(tmp_path: Path) -> None:
    path = tmp_path / "positions" / "worker-0.bin"
    file = PositionFile(path, 0, 1, attempt=2, first_step=167)
    for written_step, read_step in ((0, 167), (0, 167), (168, 168)):
        file.write(written_step, 0, 0, 3, PLAN)
        found = read_position(path)
        assert found is not None
        assert found.step == read_step


def test_the_cost_of_a_batch_is_invisible(tmp_path: Path) -> None:
    _, file = written(tmp_path)
    best_s = float("inf")
    for _ in range(20):
        begun = time.perf_counter()
        for batch in range(1000):
            file.write(batch, 0, 0, batch, PLAN)
        best_s = min(best_s, (time.perf_counter() - begun) / 1000)
    assert best_s < 5e-6, f"{best_s * 1e6:.1f} us a batch"


def test_a_disk_without_room_is_said_at_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        written(tmp_path)
    told: list[str] = []
    assert opened_position(tmp_path, Group(), 1, 0, told.append) is None
    assert told == ["a worker cannot write down where it is: No space left on device"]


def test_a_crash_leaves_its_stack_in_the_logs_and_a_good_end_leaves_nothing(tmp_path: Path) -> None:
    code = f"""
    import ctypes
    from pathlib import Path
    from bessemer.training.last_words import crashes_written
    with crashes_written(Path({str(tmp_path)!r}), 3):
        pass
    assert not list(Path({str(tmp_path)!r}, "logs").iterdir())
    with crashes_written(Path({str(tmp_path)!r}), 3):
        ctypes.string_at(0)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    assert subprocess.run(command, check=False, timeout=60).returncode == -signal.SIGSEGV
    log = (tmp_path / "logs" / "crash-worker-3.log").read_text()
    assert "Fatal Python error: Segmentation fault" in log
    assert "in string_at" in log


class Numbers(Dataset[int]):
    def __len__(self) -> int:
        return 23

    def __getitem__(self, index: int) -> int:
        return index


@pytest.mark.parametrize("way", ["shuffled", "own sampler", "research"])
def test_in_a_loop_the_file_says_which_samples_the_program_has(tmp_path: Path, way: str) -> None:
    path = tmp_path / "worker-0.bin"
    settings = settings_with(data={"order": "research" if way == "research" else "canonical"})
    surroundings = Surroundings(
        settings=settings,
        group=Group(),
        device=torch.device("cpu"),
        output_dir=tmp_path,
        position=PositionFile(path, 0, 1, 1),
    )
    with closing(Session(surroundings)) as session:
        run = Run(session)
        sampler = WeightedRandomSampler([1.0] * 23, 23) if way == "own sampler" else None
        first = run.loader(Numbers(), batch_size=5, shuffle=sampler is None, sampler=sampler)
        second = run.loader(Numbers(), batch_size=4)
        for epoch in run.epochs(2):
            found = read_position(path)
            assert found is not None
            assert found.loader is None
            for loader in (first, second):
                for step, batch in loader.enumerate():
                    found = read_position(path)
                    assert found is not None
                    assert (found.loader, found.number, found.batch) == (loader.number, epoch, step)
                    if way == "research":
                        assert found.ids is None
                    else:
                        assert found.ids is not None
                        assert found.ids.tolist() == batch.tolist()
        session.finish()
