"""The batch iterator: takes torch's `DataLoader` arguments and yields this worker's part of each batch.

`Loader` decides which batch comes next; it reports each pass and batch to a `PassObserver` (the run),
which keeps time, totals and generators in step. `batch_size` is the global batch. Where a batch is made
is up to its `Feed`; for `data.order = "research"` torch's own `DataLoader` makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Generic
from weakref import WeakValueDictionary

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from bessemer.config.data_settings import Data
from bessemer.data.changes import signature
from bessemer.data.datasets import Fetched, Fetcher, Recipe
from bessemer.data.feed import Feed, OpenSource
from bessemer.data.iterables import iterated
from bessemer.data.iteration import Batch, Counted, LoaderPass, PassObserver
from bessemer.data.order import Plan, mix
from bessemer.data.samplers import DrawnBatches, canonical_plan, scattered
from bessemer.errors import UserError
from bessemer.utils.collectives import Group


class Loader(Generic[Batch]):
    """A loop-facing loader; attributes it does not have itself are those of torch's `DataLoader`.

    Attributes:
        torch_loader: what the research code would have had.
        number: as given.
        shard: as given.
        silent: whether a loop over it gets no batch, because its training is not to be repeated.
        passes: loops over it that were begun (count).
        waiting: (pass, position) that the next loops over it go on from after a restart.
        plan: which samples form the batch that was fetched last; None if nobody knows.

    Args:
        arguments: what the research code gave to `DataLoader`.
        shard: whether each worker gets a slice of each batch, or every worker the whole batch.
        number: which loader of the program this is, from 0, by order of creation.
        settings: the run's data settings.
        group: the workers.
        observer: who is told about passes and batches.
        open_source: starts a stream, or None to fetch in process.
        stored: its samples, where they were computed once; taken as long as the program leaves its data
            as they are.

    Raises:
        UserError: the arguments cannot be trained on with these settings.
    """

    def __init__(
        self,
        arguments: dict[str, Any],
        *,
        shard: bool,
        number: int,
        settings: Data,
        group: Group,
        observer: PassObserver,
        open_source: OpenSource | None,
        stored: Dataset[Any] | None = None,
    ) -> None:
        self.torch_loader: DataLoader[Batch] = DataLoader(**arguments)
        self.number = number
        self.shard = shard
        self.silent = False
        self.passes = 0
        self.waiting: list[tuple[int, int]] = []
        self.plan: Plan | None = None
        self._live: WeakValueDictionary[int, LoaderPass[Batch]] = WeakValueDictionary()
        self._settings = settings
        self._rank, self._world_size = (group.rank, group.size) if shard else (0, 1)
        self._observer = observer
        self._open_source = open_source
        self._stored = stored
        self._feed: Feed | None = None
        generator = arguments.get("generator")
        seed = generator.initial_seed() if generator is not None else torch.initial_seed()
        self._key = mix(seed, number)
        self._fetcher: Fetcher | None = None
        # Stored samples are of the data set as it is now.
        self._signature: Any = None if stored is None else signature(arguments["dataset"])
        self._drawn = DrawnBatches(self.torch_loader, self._key)
        self._check(group)

    def _check(self, group: Group) -> None:
        if self._settings.order == "research":
            if group.size > 1:
                raise UserError(
                    f'data.order = "research" with {group.size} workers',
                    expected="scaling.num_workers = 1, as the research code had",
                    todo='use data.order = "canonical" for more workers',
                )
            return
        if self.num_batches == 0:
            raise UserError(
                f"a loader over {len(self.dataset)} samples has no batch",
                expected="at least one sample, or one whole batch with drop_last",
                todo="check the path of the data, the batch size and drop_last",
            )
        batch_size = self.torch_loader.batch_size
        if self.shard and batch_size is not None and batch_size < self._world_size:
            raise UserError(
                f"a global batch of {batch_size} samples for {self._world_size} workers",
                expected=f"batch_size of at least {self._world_size}: each worker needs a sample",
                todo="raise the batch size, lower scaling.num_workers, or pass shard=False",
            )
        if batch_size is None and self.torch_loader.batch_sampler is None and self._world_size > 1:
            raise UserError(
                f"single samples (batch_size=None) for {self._world_size} workers",
                expected="batches that can be shared",
                todo="pass shard=False to this loader, or set scaling.num_workers = 1",
            )

    def __getattr__(self, name: str) -> Any:
        if name == "torch_loader":  # not set yet: __init__ failed
            raise AttributeError(name)
        return getattr(self.torch_loader, name)

    def __len__(self) -> int:
        return len(self.torch_loader)

    def __iter__(self) -> Iterator[Batch]:
        return self._entered()

    @property
    def num_batches(self) -> int | None:
        """Batches of a pass (count), or None if nobody knows."""
        try:
            return len(self.torch_loader)
        except TypeError:  # an iterable data set without a length
            return None

    @property
    def remark(self) -> str | None:
        """What a user should know of this loader, or None."""
        if self._settings.order == "canonical" and isinstance(self.dataset, IterableDataset):
            return (
                f"{type(self.dataset).__qualname__} is iterable: every worker reads all of it, in process, "
                "and a restart reads its pass again from the beginning"
            )
        return scattered(self.torch_loader) if self._settings.order == "canonical" else None

    def enumerate(self, start: int = 0) -> Iterator[tuple[int, Batch]]:
        """Count the batches as `enumerate(loader, start)` does; the count survives a restart."""
        return Counted(self._entered(), start)

    def _entered(self) -> LoaderPass[Batch]:
        entered = LoaderPass(self, self._observer)
        self._live[entered.serial] = entered
        return entered

    @property
    def live_passes(self) -> list[LoaderPass[Batch]]:
        """Loops over it that somebody still holds and that have not used it up, oldest first."""
        held = [self._live[serial] for serial in sorted(self._live.keys())]
        return [entered for entered in held if entered.state != "ended"]

    @property
    def can_seek(self) -> bool:
        """Whether a loop can begin at any position."""
        return self._settings.order == "canonical"

    def judge(self, dataset: Dataset[Any]) -> None:
        """Give out all of another data set from now on, in its own order, in batches as before."""
        before = self.torch_loader
        self.close()
        self._feed = self._fetcher = self._signature = None
        if dataset is not before.dataset:
            self._stored = None
        size = before.batch_size
        if size is None and before.batch_sampler is not None:
            size = getattr(before.batch_sampler, "batch_size", None) or 1
        self.torch_loader = DataLoader(
            dataset,
            batch_size=size,
            collate_fn=before.collate_fn,
            pin_memory=before.pin_memory,
            worker_init_fn=before.worker_init_fn,
        )
        self._drawn = DrawnBatches(self.torch_loader, self._key)

    def close(self) -> None:
        """End the stream, if one runs."""
        feed = self.__dict__.get("_feed")
        if feed is not None:
            feed.close()

    def __del__(self) -> None:
        self.close()

    def state_dict(self) -> dict[str, int]:
        """Return what a restart needs: how many passes were begun."""
        return {"passes": self.passes}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on after so many passes."""
        self.passes = state["passes"]

    def begin_pass(self) -> tuple[int, int]:
        """Return (pass, position) that a new loop over it begins with, and count the pass."""
        if self.waiting:
            return self.waiting.pop(0)
        self.passes += 1
        return self.passes - 1, 0

    def batches(self, number: int, start: int) -> Iterator[Fetched]:
        """Yield the batches of a pass from a step on."""
        if self._settings.order == "research":
            return (Fetched(batch, 1, 1) for batch in self.torch_loader)
        if isinstance(self.dataset, IterableDataset):
            return iterated(self.torch_loader, self._key, number, start, self._rank, self._world_size)
        return self._planned(number, start)

    def _planned(self, number: int, start: int) -> Iterator[Fetched]:
        plan: Plan | None = canonical_plan(self.torch_loader, self._key)
        own = plan is None
        if plan is None:
            # Drawn when the pass begins and not before: the program may have changed weights.
            plan = self._drawn.plan(number)
        steps = plan.steps_per_pass
        if self._signature is not None and self._signature != signature(self.dataset):
            # The program has changed its data: what was sent to a stream, or stored, is not what they are.
            self._fetcher = self._stored = None
        feed = self._feed_of(plan, stop=(number + 1) * steps if own else None)
        try:
            for step in range(start, steps):
                self.plan = plan
                yield feed.get(number * steps + step)
        finally:
            # Only now: many data sets fill a cache while they are fetched from.
            self._signature = signature(self.dataset)
            if own:
                feed.close()

    def _feed_of(self, plan: Plan, stop: int | None) -> Feed:
        if self._fetcher is None or stop is not None or self._feed is None or self._feed.plan != plan:
            self.close()
            self._fetcher = self._fetcher or Fetcher(self._recipe())
            self._feed = Feed(
                self._fetcher, plan, self._rank, self._world_size, self._settings, self._open_source, stop
            )
        return self._feed

    def _recipe(self) -> Recipe:
        loader = self.torch_loader
        collate = loader.collate_fn
        if loader.batch_sampler is None:  # no batching: the sample itself is the batch
            collate = _Unbatched(loader.collate_fn)
        dataset = loader.dataset if self._stored is None else self._stored
        return Recipe(dataset, self._key, collate, loader.worker_init_fn)


class _Unbatched:
    """Collates a list of one sample as a loader with `batch_size=None` does: without a new axis."""

    def __init__(self, convert: Callable[[Any], Any]) -> None:
        self._convert = convert

    def __call__(self, samples: list[Any]) -> Any:
        return self._convert(samples[0])
