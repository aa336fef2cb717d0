"""What a model returns in a program's own evaluation becomes a table that no number of workers changes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd import backward
from torch.nn import functional
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from bessemer.config.judgement_settings import Evaluation
from bessemer.errors import DataError, TrackingError, UserError
from bessemer.judgement.evaluation import _kept
from bessemer.judgement.making import Judged, make_split
from bessemer.judgement.parts import Predictions, joined
from bessemer.judgement.report import CheckpointUsed, Report, reports_of
from bessemer.judgement.watching import Watch, Watcher
from bessemer.tracking import TrackedRun
from bessemer.training.checkpoints import CheckpointStore
from bessemer.training.run import Run
from bessemer.utils.collectives import Group
from runs import run_program
from workers import on_workers

NUM_TEST, NUM_TRAIN, NUM_CLASSES = 13, 10, 4


class Numbers(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Small whole numbers, so that sums of them are exact in any order."""

    classes = ("ant", "bee", "cat", "dog")

    def __init__(self, num: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randint(-4, 5, (num, 3), generator=generator).double()
        self.y = torch.randint(0, NUM_CLASSES, (num,), generator=generator)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.x[index], self.y[index]


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        data = Numbers(NUM_TEST, 2)
        return (data[index] for index in range(len(data)))


def classifier() -> nn.Linear:
    model = nn.Linear(3, NUM_CLASSES, bias=False, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(torch.arange(12.0).reshape(4, 3) % 5 - 2)
    return model


def program(run: Run, test: Callable[[Run, nn.Module, Any], None], **loader: Any) -> None:
    model = run.place(classifier())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    run.track(model=model, optimizer=optimizer)
    train_loader = run.loader(Numbers(NUM_TRAIN, 1), batch_size=4, shuffle=True)
    dataset = loader.pop("dataset", None) or Numbers(NUM_TEST, 2)
    test_loader = run.loader(dataset, **{"batch_size": 4, **loader})
    for _ in run.epochs(1):
        for x, y in train_loader:
            optimizer.zero_grad()
            backward(functional.cross_entropy(model(x), y))
            optimizer.step()
        with torch.no_grad():
            test(run, model, test_loader)


def own_test(run: Run, model: nn.Module, loader: Any) -> None:
    right = run.totals(count=0)
    for x, y in loader:
        right.count += int((model(x).argmax(1) == y).sum())
    run.log({"test/right": right.count})


def plain(run: Run) -> None:
    program(run, own_test)


def shuffled(run: Run) -> None:
    program(run, own_test, shuffle=True)


def whole_batches(run: Run) -> None:
    program(run, own_test, shard=False)


def streamed(run: Run) -> None:
    program(run, own_test, dataset=Stream())


def not_a_number(run: Run) -> None:
    data = Numbers(NUM_TEST, 2)
    data.x[7] = torch.nan
    program(run, own_test, dataset=data)


def twice(run: Run) -> None:
    def test(run: Run, model: nn.Module, loader: Any) -> None:
        for x, y in loader:
            run.log({"loss": functional.cross_entropy(model(x) + model(-x), y)})

    program(run, test)


def by_hand(run: Run) -> None:
    def test(run: Run, model: nn.Module, loader: Any) -> None:
        for x, y in loader:
            run.log({"loss": functional.cross_entropy(x @ model.get_parameter("weight").T, y)})

    program(run, test)


def two_passes(run: Run) -> None:
    def test(run: Run, model: nn.Module, loader: Any) -> None:
        own_test(run, model, loader)
        own_test(run, model, loader)

    program(run, test)


def left_early(run: Run) -> None:
    def test(run: Run, model: nn.Module, loader: Any) -> None:
        for number, (x, y) in enumerate(loader):
            run.log({"loss": functional.cross_entropy(model(x), y)})
            if number == 1:
                break

    program(run, test)


def first_before_training(run: Run) -> None:
    model = run.place(classifier())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run.track(model=model, optimizer=optimizer)
    train_loader = run.loader(Numbers(NUM_TRAIN, 1), batch_size=4)
    test_loader = run.loader(Numbers(NUM_TEST, 2), batch_size=4)
    own_test(run, model, test_loader)
    for _ in run.epochs(2):
        for x, y in train_loader:
            optimizer.zero_grad()
            backward(functional.cross_entropy(model(x), y))
            optimizer.step()
        own_test(run, model, test_loader)


def repeating(run: Run) -> None:
    sampler = torch.utils.data.RandomSampler(Numbers(NUM_TEST, 2), replacement=True, num_samples=40)
    program(run, own_test, sampler=sampler)


def store_of(folder: Path) -> CheckpointStore:
    return CheckpointStore(str(folder / "checkpoints"), keep=10)


def trained(chosen: Callable[[Run], Any], folder: Path) -> None:
    store = store_of(folder)
    run_program(chosen, folder, store=store)
    store.close()


def watched(
    group: Group,
    chosen: Callable[[Run], Any],
    folder: Path,
    split: str = "",
    evaluation: Evaluation | None = None,
) -> None:
    store = store_of(folder)
    state = store.load(store.complete()[-1])
    store.close()
    watcher = Watcher(Watch(folder / f"parts-{group.size}", split, evaluation or Evaluation()), group.rank)
    (folder / f"parts-{group.size}").mkdir(exist_ok=True)
    run_program(chosen, folder, group=group, resume=state, mode="evaluate", observer=watcher)


def predictions(
    chosen: Callable[[Run], Any], folder: Path, size: int = 1, split: str = "", **evaluation: Any
) -> list[Predictions]:
    if not (folder / "checkpoints").exists():
        trained(chosen, folder)
    settings = Evaluation(**evaluation)
    if size == 1:
        watched(Group(), chosen, folder, split, settings)
    else:
        on_workers(watched, size, chosen, folder, split, settings)
    return joined(folder / f"parts-{size}")


def report_of(found: Predictions, folder: Path, **evaluation: Any) -> Report:
    folder.mkdir()
    used = CheckpointUsed(step=1, sha256="0", path="", choice="")
    return make_split(found, Judged("p", "r", "", used, {}, Evaluation(**evaluation), 0, ""), folder)


@pytest.mark.parametrize("chosen", [plain, shuffled, whole_batches, streamed])
def test_the_numbers_are_the_same_to_the_last_digit_at_any_number_of_workers(
    chosen: Callable[[Run], Any], tmp_path: Path
) -> None:
    reports = []
    for size in (1, 2, 3):
        (found,) = predictions(chosen, tmp_path, size)
        assert found.samples.tolist() == list(range(NUM_TEST))
        data = Numbers(NUM_TEST, 2)
        assert np.array_equal(found.columns["target"], data.y.numpy())
        assert np.array_equal(found.columns["scores"], classifier()(data.x).detach().numpy())
        reports.append(report_of(found, tmp_path / f"split-{size}"))
    assert reports[0] == reports[1] == reports[2]
    right = (classifier()(data.x).argmax(1) == data.y).double().mean()
    assert reports[0].metrics["accuracy"].value == float(right)


def test_a_report_tells_what_was_judged_by_what(tmp_path: Path) -> None:
    (found,) = predictions(plain, tmp_path, num_worst=3)
    report = report_of(found, tmp_path / "split", num_worst=3)
    assert (report.split, report.task, report.model) == ("test", "classification", "Linear")
    assert (report.data.dataset, report.data.num_samples, report.data.num_dataset) == ("Numbers", 13, 13)
    assert len(report.data.fingerprint) == 16
    assert [line["class"] for line in report.classes] == ["ant", "bee", "cat", "dog"]
    losses = [line["loss"] for line in report.worst]
    assert losses == sorted(losses, reverse=True)
    assert losses == pytest.approx(sorted(found.columns["loss"], reverse=True)[:3], rel=1e-12)
    assert {line["sample"] for line in report.worst} == set(found.inputs)
    names = {file.name for file in (tmp_path / "split").iterdir()}
    assert names == {"report.json", "predictions.parquet", *report.figures}


def test_other_data_of_the_program_can_be_put_behind_its_evaluation(tmp_path: Path) -> None:
    for size in (1, 2):
        (found,) = predictions(plain, tmp_path, size, split="train")
        assert found.about.split == "train"
        assert found.samples.tolist() == list(range(NUM_TRAIN))
        assert np.array_equal(found.columns["target"], Numbers(NUM_TRAIN, 1).y.numpy())


@pytest.mark.parametrize("split", ["test", "1"])
def test_a_loader_is_named_by_its_variable_or_its_number(tmp_path: Path, split: str) -> None:
    (found,) = predictions(plain, tmp_path, split=split)
    assert (found.about.split, len(found)) == ("test", NUM_TEST)


def test_a_split_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no split 'tset'") as caught:
        predictions(plain, tmp_path, split="tset")
    assert caught.value.expected == "did you mean test? one of: train, test"


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        (twice, "Linear is called 2 times for a batch"),
        (by_hand, "no model that was placed is called"),
    ],
)
def test_what_cannot_be_observed_says_why_and_keeps_the_programs_own_metrics(
    chosen: Callable[[Run], Any], reason: str, tmp_path: Path
) -> None:
    (found,) = predictions(chosen, tmp_path)
    assert reason in found.about.reason
    report = report_of(found, tmp_path / "split")
    assert (report.unseen, report.metrics) == (found.about.reason, {})


def test_only_the_first_of_several_loops_over_a_loader_counts(tmp_path: Path) -> None:
    (found,) = predictions(two_passes, tmp_path)
    assert len(found) == NUM_TEST


def test_a_loop_that_is_left_early_tells_how_much_it_saw(tmp_path: Path) -> None:
    (found,) = predictions(left_early, tmp_path)
    assert found.samples.tolist() == list(range(8))
    assert found.about.remarks == ("the program looked at 8 of 13 samples",)


def test_what_runs_before_the_checkpoint_is_put_back_does_not_count(tmp_path: Path) -> None:
    (found,) = predictions(first_before_training, tmp_path)
    store = store_of(tmp_path)
    weight = store.load(store.complete()[-1])["tracked"]["model"]["weight"]
    store.close()
    assert np.array_equal(found.columns["scores"], (Numbers(NUM_TEST, 2).x @ weight.T).numpy())


def test_a_sampler_that_repeats_samples_is_no_sample_to_measure_by(tmp_path: Path) -> None:
    (found,) = predictions(repeating, tmp_path)
    assert found.about.reason.startswith("40 samples came, and ")


def test_a_sample_that_two_workers_tell_of_is_an_error(tmp_path: Path) -> None:
    predictions(plain, tmp_path, 2)
    folder = tmp_path / "parts-2"
    (folder / "loader-1-1.parquet").write_bytes((folder / "loader-1-0.parquet").read_bytes())
    with pytest.raises(DataError, match="sample 0 came twice"):
        joined(folder)


def test_a_part_that_is_missing_is_an_error(tmp_path: Path) -> None:
    predictions(plain, tmp_path, 2)
    (tmp_path / "parts-2" / "loader-1-1.json").unlink()
    with pytest.raises(DataError, match="worker 1 has written no part"):
        joined(tmp_path / "parts-2")


def test_outputs_that_are_no_numbers_are_an_error_with_the_sample(tmp_path: Path) -> None:
    (found,) = predictions(not_a_number, tmp_path)
    with pytest.raises(DataError, match="NaN for 1 of 13 samples of test, the first of them sample 7"):
        report_of(found, tmp_path / "split")


def test_no_task_leaves_the_programs_own_metrics(tmp_path: Path) -> None:
    assert predictions(plain, tmp_path, task="none") == []


def test_a_task_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is 'language', but"):
        predictions(plain, tmp_path, task="language")


def parity(sample: tuple[torch.Tensor, torch.Tensor]) -> str:
    return "even" if int(sample[0][0]) % 2 == 0 else "odd"


@pytest.mark.parametrize("size", [1, 2])
def test_parts_of_the_data_are_measured_on_their_own(tmp_path: Path, size: int) -> None:
    reference = f"{__name__}:parity"
    (found,) = predictions(plain, tmp_path, size, slices=["1", reference])
    report = report_of(found, tmp_path / "split", slices=["1", reference])
    data = Numbers(NUM_TEST, 2)
    assert {name: part.num_samples for name, part in report.slices["1"].items()} == {
        str(c): int((data.y == c).sum()) for c in range(NUM_CLASSES) if (data.y == c).any()
    }
    even = data.x[:, 0] % 2 == 0
    right = classifier()(data.x).argmax(1) == data.y
    assert report.slices[reference]["even"].metrics["accuracy"].value == float(right[even].double().mean())


def test_a_slice_that_samples_have_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="slices has 'city'"):
        predictions(plain, tmp_path, slices=["city"])


def negated(model: nn.Module, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return -model(batch[0]), batch[1]


def test_a_project_may_predict_itself(tmp_path: Path) -> None:
    for size in (1, 3):
        (found,) = predictions(twice, tmp_path, size, predict=f"{__name__}:negated")
        data = Numbers(NUM_TEST, 2)
        assert np.array_equal(found.columns["scores"], -classifier()(data.x).detach().numpy())
    (found,) = predictions(twice, tmp_path, split="train", predict=f"{__name__}:negated")
    assert len(found) == NUM_TRAIN


def test_a_model_may_be_copied_and_saved_whole_while_it_is_watched(tmp_path: Path) -> None:
    def copying(run: Run) -> None:
        def test(run: Run, model: nn.Module, loader: Any) -> None:
            own_test(run, copy.deepcopy(model), loader)
            run.save(model, "model.pt")

        program(run, test)

    (found,) = predictions(copying, tmp_path)
    assert len(found) == NUM_TEST
    saved = torch.load(tmp_path / "model.pt", weights_only=False)
    x = Numbers(NUM_TEST, 2).x
    assert torch.equal(saved(x), classifier()(x))


def test_other_weights_are_judged_by_the_same_loop(tmp_path: Path) -> None:
    trained(plain, tmp_path)
    store = store_of(tmp_path)
    state = store.load(store.complete()[-1])
    store.close()
    file = tmp_path / "weights.pt"
    torch.save({"weight": -classifier().weight.detach()}, file)
    watch = Watch(tmp_path / "parts", "", Evaluation(), weights=file)
    watch.folder.mkdir()
    run_program(plain, tmp_path, resume=state, mode="evaluate", observer=Watcher(watch, 0))
    (found,) = joined(watch.folder)
    expected = -classifier()(Numbers(NUM_TEST, 2).x).detach().numpy()
    assert np.array_equal(found.columns["scores"], expected)
    torch.save({"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}, file)
    with pytest.raises(UserError, match="none of the program's: Linear has no bias"):
        run_program(plain, tmp_path, resume=state, mode="evaluate", observer=Watcher(watch, 0))


def test_what_was_found_is_kept_when_mlflow_has_gone_away_and_is_not_relied_on(tmp_path: Path) -> None:
    predictions(plain, tmp_path)
    root = tmp_path / "run" / "evaluation"
    root.mkdir(parents=True)
    used = CheckpointUsed(step=1, sha256="0", path="", choice="")
    judged = Judged("p", "run", "", used, {"test/right": 3.0}, Evaluation(), 0, "sure")
    gone = TrackedRun("http://127.0.0.1:9", "0", "0", "run")
    with pytest.raises(TrackingError):
        _kept("p", root, tmp_path / "parts-1", judged, gone)
    (report,) = reports_of(root.parent)
    assert (report.request, report.program, len(report.metrics)) == ("", {"test/right": 3.0}, 7)


def test_data_without_labels_are_not_taken_for_something_else(tmp_path: Path) -> None:
    def unlabelled(run: Run) -> None:
        def test(run: Run, model: nn.Module, loader: Any) -> None:
            for (x,) in loader:
                run.log({"mean": model(x).mean()})

        program(run, test, dataset=TensorDataset(Numbers(NUM_TEST, 2).x))

    (found,) = predictions(unlabelled, tmp_path)
    assert "the batch has no target" in found.about.reason
