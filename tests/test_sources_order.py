"""Batches of a native source are the same at any number of workers, in any pass, and after any restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from source_files import FORMATS, NUM_ROWS, declared, make, opened
from torch.utils.data import Subset, WeightedRandomSampler, random_split

from bessemer.config.settings import Settings
from bessemer.data.order import CanonicalPlan
from bessemer.data.sources import lines
from bessemer.data.windows import WindowedPlan
from bessemer.errors import UserError
from bessemer.training.identity import identity_of
from bessemer.training.run import Run
from bessemer.utils.collectives import Group
from loading import BLOCKS, Observer, Streams, joined, loader, on_workers
from restarts import resumed_from_each_is_the_same
from runs import run_program
from workers import run_on_workers

every_format = pytest.mark.parametrize("name", FORMATS)


def windowed(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Write the data of a format, to be shuffled in windows of about two groups."""
    declaration = make(name, folder, monkeypatch)
    return {**declaration, "window_bytes": 2 * opened(**declaration).group_bytes}


# Any number of workers


@every_format
@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_are_the_same_at_any_number_of_workers(
    name: str, shuffle: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = opened(**windowed(name, tmp_path, monkeypatch))
    number_of = FORMATS[name][1]

    def made(group: Group) -> Any:
        return loader(
            source,
            batch_size=6,
            shuffle=shuffle,
            collate_fn=lambda rows: [number_of(row) for row in rows],
            group=group,
            observer=Observer(),
        )

    alone = [joined([part for part, _ in on_workers(made, size, num_passes=2)]) for size in (1, 2, 3)]
    assert alone[0] == alone[1] == alone[2]
    passes = [[row for batch in batches for row in batch] for batches in (alone[0][:7], alone[0][7:])]
    assert [sorted(rows) for rows in passes] == [list(range(NUM_ROWS))] * 2
    assert (passes[0] == passes[1] == list(range(NUM_ROWS))) is not shuffle


@pytest.mark.usefixtures("streams_at_once")
@every_format
def test_a_stream_gives_the_batches_that_the_training_process_would_make(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declaration = windowed(name, tmp_path, monkeypatch)
    streams = Streams()
    streams.copies = True
    number_of = FORMATS[name][1]

    def made(**more: Any) -> list[Any]:
        found = loader(
            opened(**declaration),
            batch_size=6,
            shuffle=True,
            collate_fn=lambda rows: [number_of(row) for row in rows],
            **more,
        )
        return [list(found), list(found)]

    assert made(settings=BLOCKS, streams=streams) == made()
    assert streams.opened[0].asked


# Restart


def train(run: Run) -> Any:
    source = run.source("train", transform=noisy)
    model = run.place(torch.nn.Linear(2, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    run.track(model=model, optimizer=optimizer)
    train_loader = run.loader(source, batch_size=6, shuffle=True)
    for _ in run.epochs(3):
        for x, y in train_loader:
            assert isinstance(train_loader.plan, WindowedPlan)
            optimizer.zero_grad()
            loss = (model(x) - y).square().mean()
            loss.backward()
            optimizer.step()
            run.log({"train/loss": loss.detach()})
    return [p.tolist() for p in model.parameters()]


def noisy(row: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.tensor([float(row["n"]), 1.0]) / 10
    return x + torch.randn(2) / 100, x[:1]


@pytest.mark.parametrize("name", ["parquet", "csv"])
def test_a_run_that_goes_on_from_any_checkpoint_has_the_same_numbers(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = trained(windowed(name, tmp_path, monkeypatch))
    whole = resumed_from_each_is_the_same(train, tmp_path, settings)
    assert len(whole.store.complete()) > 15


def trained(declaration: dict[str, Any]) -> Settings:
    data = {"source": "inline", "sources": {"train": declaration}}
    return Settings.model_validate({"checkpoint": {"every_steps": 1}, "data": data})


def test_workers_open_a_source_together_and_train_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = declared(**windowed("parquet", tmp_path, monkeypatch))
    alone = run_program(train, tmp_path, settings)
    for ran in run_on_workers(train, 2, tmp_path, settings):
        assert torch.allclose(torch.tensor(ran.result[0]), torch.tensor(alone.result[0]), rtol=1e-5)
    with pytest.raises(AssertionError, match="no file matches") as caught:
        run_on_workers(train, 2, tmp_path, declared(format="csv", path="nothing.csv"))
    assert str(caught.value).count("UserError: no file matches nothing.csv") >= 2


# Which order


def test_a_source_that_fits_into_its_window_has_the_order_of_any_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declaration = make("parquet", tmp_path, monkeypatch)
    for window_bytes, kind in ((10**9, CanonicalPlan), (1, WindowedPlan)):
        source = opened(**declaration, window_bytes=window_bytes)
        made = loader(source, batch_size=6, shuffle=True)
        next(iter(made))
        assert type(made.plan) is kind
        assert made.remark is None
        in_order = loader(source, batch_size=6)
        next(iter(in_order))
        assert type(in_order.plan) is CanonicalPlan


def test_a_loader_that_takes_rows_from_anywhere_says_what_it_costs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = opened(**windowed("parquet", tmp_path, monkeypatch))
    half = random_split(source, [20, 20])[0]
    weighted = WeightedRandomSampler([1.0] * NUM_ROWS, 10)
    said = [
        loader(half, batch_size=4, shuffle=True).remark,
        loader(half, batch_size=4).remark,
        loader(source, batch_size=4, sampler=weighted).remark,
    ]
    assert [str(text).split(" takes")[0] for text in said] == ["a Subset"] * 2 + ["WeightedRandomSampler"]
    assert "raise window_bytes" in str(said[0])
    assert loader(Subset(source, range(20)), batch_size=4).remark is None
    source.window_bytes = 10**9
    assert loader(half, batch_size=4, shuffle=True).remark is None


def test_what_a_run_is_gone_on_with_must_have_the_same_windows_but_may_lie_elsewhere(tmp_path: Path) -> None:
    def identity(**more: Any) -> dict[str, str]:
        return identity_of(declared(format="parquet", path="a", **more), [], {})

    assert identity() == identity_of(declared(format="parquet", path="b"), [], {})
    assert identity() != identity(window_bytes=5)


def test_a_wrong_name_is_refused_on_every_worker_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean train"):
        run_program(lambda run: run.source("tran"), tmp_path, declared(format="text", path="nothing"))


def test_groups_of_lines_do_not_depend_on_how_the_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declaration = make("text", tmp_path, monkeypatch)
    whole = opened(**declaration).group_sizes
    monkeypatch.setattr(lines, "_CHUNK_BYTES", 7)
    for file in (tmp_path / "data" / ".bessemer" / "index").iterdir():
        file.unlink()
    assert opened(**declaration).group_sizes == whole
