"""What a program writes by library functions, or for TensorBoard, is kept with the run, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bessemer.utils.events import Note
from loop_shapes import small_net
from restarts import data_of, train_step
from runs import run_program
from workers import run_on_workers


def writes_files(run: Any) -> list[tuple[str, bool]]:
    written = []
    for epoch in run.epochs(2):
        for name in (f"samples/{epoch}.npy", "last.npy"):
            path = run.path(name)
            np.save(path, np.full(3, epoch) + torch.rand(1).numpy())
            written.append((name, path == run.output_dir / name))
    return written


def test_what_library_functions_write_is_recorded_at_the_end_of_each_turn(tmp_path: Path) -> None:
    ran = run_program(writes_files, tmp_path)
    assert sorted(ran.files[:2]) == ["files/0.npy", "files/last.npy"]
    assert sorted(ran.files[2:]) == ["files/1.npy", "files/last.npy"]
    assert sorted(x.name for x in tmp_path.rglob("*.npy")) == ["0.npy", "1.npy", "last.npy"]
    assert int(np.load(tmp_path / "last.npy")[0]) == 1


def test_the_main_worker_alone_writes_into_the_runs_folder(tmp_path: Path) -> None:
    main, other = run_on_workers(writes_files, 2, tmp_path)
    assert all(is_kept for _, is_kept in main.result)
    assert not any(is_kept for _, is_kept in other.result)
    assert other.files == []
    assert len(main.files) == 4


def reports(run: Any) -> str:
    model = run.place(small_net())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run.track(model=model, optimizer=optimizer)
    with run.board() as board:
        for epoch in run.epochs(2):
            loss = train_step(model, optimizer, data_of(4)[:])
            board.add_scalar("Loss/train", loss, epoch * 100)
            board.add_scalars("both", {"a": 1.0, "b": torch.tensor(2.0)}, epoch)
            board.add_graph(model)
        board.add_scalar("final", 3.0, 7)
        board.add_text("note", "as it went", 1)
        board.add_image("grey", torch.rand(1, 4, 4))
        board.add_images("colours", np.zeros((2, 4, 4, 3), np.uint8), 5, dataformats="NHWC")
        board.add_histogram("weights", torch.rand(3), 0)
        board.flush()
    return str(board.log_dir)


def test_what_is_reported_to_tensorboard_is_recorded(tmp_path: Path) -> None:
    ran = run_program(reports, tmp_path)
    assert ran.result == str(tmp_path)
    points = [(name, step) for name, step, _ in ran.points if not name.startswith(("epoch/", "learning"))]
    assert [x for x in points if x[0] == "Loss/train"] == [("Loss/train", 1), ("Loss/train", 2)]
    assert ("both/a", 1) in points
    assert ("both/b", 2) in points
    assert ("final", 7) in points
    assert sorted(ran.files) == sorted(
        f"files/{x}" for x in ("note-1.txt", "grey.png", "colours-1-5.png", "colours-2-5.png")
    )
    assert (tmp_path / "note-1.txt").read_text() == "as it went"
    told = [x.text for x in ran.events if isinstance(x, Note) and "SummaryWriter" in x.text]
    assert len(told) == 2
    assert "add_graph" in told[0]
    assert "add_histogram" in told[1]


def test_the_methods_are_those_of_a_summary_writer(tmp_path: Path) -> None:
    writer = pytest.importorskip("tensorboardX").SummaryWriter
    methods = [x for x in vars(writer) if x.startswith("add_") or x in ("close", "flush", "__enter__")]

    def program(run: Any) -> list[str]:
        board = run.board()
        return [x for x in methods if not hasattr(board, x)]

    assert run_program(program, tmp_path).result == []


def test_a_picture_has_the_colours_that_were_given(tmp_path: Path) -> None:
    image = pytest.importorskip("matplotlib.image")

    def program(run: Any) -> None:
        board = run.board()
        board.add_image("x", torch.tensor([[[1.0]], [[0.5]], [[0.0]]]))
        board.add_image("y", np.array([[0, 255]], np.uint8), dataformats="HW")

    run_program(program, tmp_path)
    assert image.imread(tmp_path / "x.png")[0, 0, :3] == pytest.approx([1.0, 0.5, 0.0], abs=0.01)
    assert image.imread(tmp_path / "y.png")[0, :, 0] == pytest.approx([0.0, 1.0])
