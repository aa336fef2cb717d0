"""What a worker keeps of one loop over one loader: rows of the table, and the inputs that went worst."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, IterableDataset, SequentialSampler

from bessemer.config.judgement_settings import Evaluation
from bessemer.config.project import resolve_function
from bessemer.data.datasets import Fetched, fingerprint, sample
from bessemer.data.iteration import LoaderPass
from bessemer.data.loaders import Loader
from bessemer.data.order import share_of
from bessemer.errors import UserError
from bessemer.judgement.outputs import Reading, UnseenError, input_of, read
from bessemer.judgement.parts import About, PartWriter
from bessemer.utils.collectives import Group

# An input with more values than this is not kept to be shown.
_MOST_SHOWN = 4_000_000


def ids_of(
    entered: LoaderPass[Any], fetched: Fetched, group: Group, num_before: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the ids of a batch, and of this worker's samples in it: int64 [N], empty for a stand-in.

    A data set without positions numbers its samples as they come.

    Args:
        entered: the loop; it has just given out the batch.
        fetched: the batch.
        group: the workers.
        num_before: samples of the batches before it, of all workers (count).

    Raises:
        UnseenError: nobody knows which samples they are.
    """
    loader = entered.loader
    rank, size = (group.rank, group.size) if loader.shard else (0, 1)
    if loader.plan is not None:
        ids = loader.plan.batch(entered.number, entered.position - 1)
    elif isinstance(loader.dataset, IterableDataset):
        ids = np.arange(num_before, num_before + fetched.num_global, dtype=np.int64)
    elif isinstance(loader.sampler, SequentialSampler):
        raise UnseenError('data.order is "research": evaluate with --data.order canonical')
    else:
        raise UnseenError("torch's own loader shuffled them, and nobody knows which sample is which")
    start, stop = share_of(len(ids), rank, size)
    return ids, ids[start:stop]


class Record:
    """The rows of one loader, on one worker.

    Attributes:
        num_expected: samples of the batches so far, of all workers (count).
        reason: why its predictions cannot be observed; "" if they are.
        serial: of the loop that is recorded.

    Args:
        folder: of all parts.
        loader: what is gone over.
        split: what its data are called.
        group: the workers.
        evaluation: settings.
        search_path: folders in front of `sys.path`.
    """

    def __init__(
        self,
        folder: Path,
        loader: Loader[Any],
        split: str,
        group: Group,
        evaluation: Evaluation,
        search_path: Sequence[str],
    ) -> None:
        self.num_expected = 0
        self.reason = ""
        self.serial = -1
        self._group = group
        self._loader = loader
        self._dataset = loader.dataset
        self._split = split
        self._evaluation = evaluation
        self._functions = {
            name: resolve_function(name, list(search_path)) for name in evaluation.slices if ":" in name
        }
        self._writer = PartWriter(folder, loader.number, group.rank)
        self._kind = ""
        self._model = ""
        self._num_nan, self._first_nan = 0, -1
        self._worst: list[tuple[float, int]] = []
        self._inputs: dict[int, NDArray[Any]] = {}
        self._seen: list[NDArray[np.int64]] = []

    def expect(self, fetched: Fetched, entered: LoaderPass[Any]) -> NDArray[np.int64]:
        """Count a batch that goes to the program, and return the ids of this worker's samples in it.

        Raises:
            UnseenError: nobody knows which samples they are.
        """
        ids, mine = ids_of(entered, fetched, self._group, self.num_expected)
        self.num_expected += fetched.num_global
        self._seen.append(ids)
        return mine

    def take(self, model: str, returned: Any, batch: Any, ids: NDArray[np.int64]) -> None:
        """Make rows of what a model returned for a batch.

        Args:
            model: which.
            returned: by it.
            batch: as the loader gave it.
            ids: int64 [N].

        Raises:
            UnseenError: it cannot be read.
            UserError: a sample has no such slice.
        """
        reading = read(returned, batch, len(ids), self._evaluation.task)
        if self._kind not in ("", reading.kind):
            raise UnseenError(f"a batch looks like {reading.kind}, one before it like {self._kind}")
        self._kind, self._model = reading.kind, model
        self._count_nans(reading, ids)
        rows = reading.rows()
        slices = {name: self._names(name, batch, ids) for name in self._evaluation.slices}
        self._writer.add(ids, rows, slices)
        self._keep_worst(rows["loss"], input_of(batch), ids)

    def _count_nans(self, reading: Reading, ids: NDArray[np.int64]) -> None:
        bad = reading.output.detach().flatten(1).isnan().any(1).cpu().numpy()
        if bad.any():
            first = int(ids[bad].min())
            self._first_nan = first if self._first_nan < 0 else min(first, self._first_nan)
            self._num_nan += int(bad.sum())

    def _names(self, name: str, batch: Any, ids: NDArray[np.int64]) -> list[str]:
        """Return the part of the data that each sample belongs to."""
        if isinstance(batch, Mapping) and name in batch and len(batch[name]) == len(ids):
            return [_plain(value) for value in batch[name]]
        if isinstance(self._dataset, IterableDataset):
            raise UserError(
                f"evaluation.slices has {name!r}, and the data set has no positions",
                expected="a key of the batch",
                todo="put the value into the samples under that key",
            )
        samples = [sample(self._dataset, int(number), int(number)) for number in ids]
        function = self._functions.get(name)
        return [_plain(function(each) if function else _value_at(each, name)) for each in samples]

    def _keep_worst(
        self, losses: NDArray[np.float64], given: torch.Tensor | None, ids: NDArray[np.int64]
    ) -> None:
        if given is None or len(given) != len(ids) or given[0].numel() > _MOST_SHOWN:
            return
        for place in np.argsort(-losses, kind="stable")[: self._evaluation.num_worst]:
            loss = float(losses[place])
            entry = (loss, -int(ids[place]))
            if loss != loss:
                continue
            if len(self._worst) < self._evaluation.num_worst:
                heapq.heappush(self._worst, entry)
            elif self._worst and entry > self._worst[0]:
                self._inputs.pop(-heapq.heapreplace(self._worst, entry)[1], None)
            else:
                continue
            self._inputs[int(ids[place])] = _array(given[int(place)])

    def close(self) -> None:
        """Write this worker's part."""
        self._writer.close(self._about(), self._inputs)

    def _about(self) -> About:
        dataset = self._dataset
        remarks = []
        num_different = len(np.unique(np.concatenate(self._seen))) if self._seen else 0
        num_dataset = len(dataset) if hasattr(dataset, "__len__") else None
        if num_dataset is not None and self.num_expected < num_dataset and not self.reason:
            remarks.append(f"the program looked at {self.num_expected:,} of {num_dataset:,} samples")
        return About(
            loader=self._loader.number,
            split=self._split,
            dataset=type(dataset).__name__,
            num_dataset=num_dataset,
            num_expected=self.num_expected,
            num_different=num_different,
            fingerprint=content_of(dataset) if self._group.rank == 0 else "",
            classes=_classes(dataset),
            model=self._model,
            kind=self._kind,
            reason=self.reason,
            num_nan=self._num_nan,
            first_nan=self._first_nan,
            remarks=tuple(remarks),
            world_size=self._group.size,
        )


def content_of(dataset: Any) -> str:
    """Return the fingerprint of a data set: its own, or one of samples of it; "" without positions."""
    own = getattr(dataset, "fingerprint", None)
    if callable(own):
        return str(own())
    return fingerprint(dataset) if hasattr(dataset, "__len__") else ""


def _classes(dataset: Dataset[Any]) -> tuple[str, ...]:
    """Return the names of classes that a data set, or one that it is a part of, tells as torchvision does."""
    inner: Any = dataset
    while not hasattr(inner, "classes") and hasattr(inner, "dataset"):
        inner = inner.dataset
    names = getattr(inner, "classes", None)
    return tuple(str(name) for name in names) if isinstance(names, list | tuple) else ()


def _value_at(each: Any, name: str) -> Any:
    if isinstance(each, Mapping) and name in each:
        return each[name]
    if isinstance(each, Sequence) and name.isdigit() and int(name) < len(each):
        return each[int(name)]
    if not isinstance(each, Mapping | Sequence) and hasattr(each, name):
        return getattr(each, name)
    known = (
        ", ".join(map(str, each)) if isinstance(each, Mapping) else f"{type(each).__name__} of {_size(each)}"
    )
    raise UserError(
        f"evaluation.slices has {name!r}, which a sample has not",
        expected=f"a key or place of a sample: {known}",
        todo="correct evaluation.slices, or name a function of a sample: package.module:function",
    )


def _size(each: Any) -> str:
    return f"{len(each)} parts" if isinstance(each, Sequence) else "no parts"


def _plain(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray | np.generic) and value.size == 1:
        value = value.item()
    return str(value)


def _array(given: torch.Tensor) -> NDArray[Any]:
    array: NDArray[Any] = given.detach().cpu().clone().numpy()
    return array
