"""Files that a program leaves lie inside the run's folder, and are there whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.errors import UserError
from bessemer.training.leaving import figure_to_file, inside, save_to_file
from runs import run_program
from workers import run_on_workers

FOLDER = Path("/runs/digits/1")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model.pt", "model.pt"),
        ("models/best.pt", "models/best.pt"),
        ("./model.pt", "model.pt"),
        ("models//best.pt", "models/best.pt"),
        ("/home/me/model.pt", "model.pt"),
        ("~/model.pt", "~/model.pt"),
        (Path("models") / "best.pt", "models/best.pt"),
        ("..model.pt", "..model.pt"),
        ("a..b/c.pt", "a..b/c.pt"),
        ("modèle 1.pt", "modèle 1.pt"),
    ],
)
def test_a_file_goes_to_its_own_path_under_the_runs_folder(name: str | Path, expected: str) -> None:
    assert inside(FOLDER, name) == FOLDER / expected


OUTSIDE = ["../model.pt", "a/../../model.pt", "a/../model.pt", "..", "a/..", "", ".", "/"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_path_that_leads_out_of_the_folder_or_names_no_file_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="inside the run's own folder"):
        inside(FOLDER, name)


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("ab./ ~\\"), max_size=12))
def test_no_name_leads_out_of_the_folder(name: str) -> None:
    try:
        target = inside(FOLDER, name)
    except UserError:
        return
    assert FOLDER in target.parents
    assert ".." not in target.parts


def test_a_saved_value_comes_back(tmp_path: Path) -> None:
    save_to_file({"weight": torch.arange(3)}, tmp_path / "deep" / "down" / "model.pt")
    assert torch.load(tmp_path / "deep" / "down" / "model.pt")["weight"].tolist() == [0, 1, 2]
    assert [path.name for path in (tmp_path / "deep" / "down").iterdir()] == ["model.pt"]


class Unsaveable:
    def __reduce__(self) -> Any:
        raise RuntimeError("halfway")


def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "model.pt"
    save_to_file({"old": 1}, target)
    with pytest.raises(RuntimeError, match="halfway"):
        save_to_file({"weight": torch.zeros(1000), "bad": Unsaveable()}, target)
    assert torch.load(target) == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


class FakeFigure:
    """Writes as matplotlib's figure does."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def savefig(self, target: Path, **options: Any) -> None:
        self.asked.append(options)
        target.write_bytes(b"figure")


@pytest.mark.parametrize(("name", "kind"), [("curve.png", "png"), ("curve.pdf", "pdf"), ("curve", "png")])
def test_a_figure_is_written_in_the_format_of_its_name(tmp_path: Path, name: str, kind: str) -> None:
    figure: Any = FakeFigure()
    figure_to_file(figure, tmp_path / name)
    assert (tmp_path / name).read_bytes() == b"figure"
    assert figure.asked == [{"format": kind}]


def test_a_run_keeps_what_its_program_leaves(tmp_path: Path) -> None:
    figure: Any = FakeFigure()

    def program(run: Any) -> list[Path]:
        return [
            run.save([1], "models/model.pt"),
            run.save([1], "/home/me/other.pt"),
            run.copy("models/model.pt", "best.pt"),
            run.figure(figure, "curve"),
            run.figure(figure, "plots/curve.svg"),
        ]

    ran = run_program(program, tmp_path)
    names = ["models/model.pt", "other.pt", "best.pt", "curve.png", "plots/curve.svg"]
    assert ran.result == [tmp_path / name for name in names]
    assert all(path.is_file() for path in ran.result)
    assert ran.files == [
        "files/model.pt",
        "files/other.pt",
        "files/best.pt",
        "figures/curve.png",
        "figures/curve.svg",
    ]


def save_and_read(run: Any) -> list[int]:
    found = []
    for number in range(20):
        run.save(torch.full((50_000,), number), "big.pt")
        found.append(int(torch.load(run.saved("big.pt"))[0]))
        run.saved("big.pt")  # nobody writes before all have read
    return found


def test_what_was_saved_is_there_for_every_worker(tmp_path: Path) -> None:
    ran = run_on_workers(save_and_read, 2, tmp_path)
    assert [x.result for x in ran] == [list(range(20))] * 2


def test_a_figure_that_matplotlib_draws_is_a_picture(tmp_path: Path) -> None:
    figure_module = pytest.importorskip("matplotlib.figure")
    figure = figure_module.Figure()
    figure.subplots().plot([1, 2, 3])
    figure_to_file(figure, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
