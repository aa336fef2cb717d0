"""The batch iterator: takes torch's `DataLoader` arguments and yields this worker's part of each batch.

`Loader` decides which batch comes next and where it is fetched; it reports each pass and batch to a
`PassObserver` (the run), which keeps time, totals and generators in step. `batch_size` is the global
batch. Three sources give the same batches: a Ray Data stream, the training process itself, and, for
`data.order = "research"`, torch's own `DataLoader`.

The first block of a run is fetched in process while the stream starts, so that training does not
wait for it.
"""

from __future__ import annotations

import itertools
import sys
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, Generic, Literal, Protocol, TypeVar
from weakref import WeakValueDictionary

import torch
from torch.utils._pytree import tree_map
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
)

from bessemer.config.settings import Data
from bessemer.data.callers import is_for_statement
from bessemer.data.datasets import Fetched, Recipe, fetch, preserved_generators, seed_generators
from bessemer.data.order import CanonicalPlan, ListedPlan, Plan, mix
from bessemer.errors import UserError
from bessemer.utils.collectives import Group

Batch = TypeVar("Batch")


class BatchSource(Protocol):
    """Something that makes the batches of a loader one after the other, as `data.stream` does."""

    def get(self, position: int) -> Fetched:
        """Return the batch at a position."""

    def close(self) -> None:
        """End it and free what it holds."""


# (recipe, first position, end or None) -> a running source
OpenSource = Callable[[Recipe, int, int | None], BatchSource]


class PassObserver(Protocol):
    """Who is told what a loader does; every worker is told the same, at the same step."""

    def pass_started(self, entered: LoaderPass[Any]) -> bool:
        """A loop over the loader begins; may move it, and returns whether it gets any batch."""

    def between_batches(self, entered: LoaderPass[Any]) -> None:
        """The loop body is done with a batch and asks for the next: nothing is half done."""

    def batch_ready(self, entered: LoaderPass[Any], fetched: Fetched, waited_s: float) -> None:
        """A batch goes to the loop body; training waited so many seconds for it."""

    def pass_ended(self, entered: LoaderPass[Any]) -> None:
        """The loop has used up the loader. Workers may talk to each other here."""

    def pass_abandoned(self, serial: int) -> None:
        """The loop was left early, maybe by an error. Workers must not talk to each other here."""


class Loader(Generic[Batch]):
    """A loop-facing loader; attributes it does not have itself are those of torch's `DataLoader`.

    Attributes:
        torch_loader: what the research code would have had.
        number: as given.
        shard: as given.
        silent: whether a loop over it gets no batch, because its training is not to be repeated.
        passes: loops over it that were begun (count).
        waiting: (pass, position) that the next loops over it go on from after a restart.
        plan: which samples form the batch that was fetched last; None if only torch knows.

    Args:
        arguments: what the research code gave to `DataLoader`.
        shard: whether each worker gets a slice of each batch, or every worker the whole batch.
        number: which loader of the program this is, from 0, by order of creation.
        settings: the run's data settings.
        group: the workers.
        observer: who is told about passes and batches.
        open_source: starts a stream, or None to fetch in process.

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
    ) -> None:
        self.torch_loader: DataLoader[Batch] = DataLoader(**arguments)
        self.number = number
        self.shard = shard
        self.silent = False
        self.passes = 0
        self.waiting: list[tuple[int, int]] = []
        self.plan: Plan | None = None
        self._live: WeakValueDictionary[int, LoaderPass[Batch]] = WeakValueDictionary()
        self._num_drawn = 0
        self._settings = settings
        self._rank, self._world_size = (group.rank, group.size) if shard else (0, 1)
        self._observer = observer
        self._open_source = open_source
        self._source: BatchSource | None = None
        self._streams_from: int | None = None
        generator = arguments.get("generator")
        seed = generator.initial_seed() if generator is not None else torch.initial_seed()
        self._key = mix(seed, number)
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
        if isinstance(self.dataset, IterableDataset):
            raise UserError(
                f"{type(self.dataset).__qualname__} is an iterable data set: it has no positions",
                expected="a data set with __len__ and __getitem__",
                todo='train it with data.order = "research" and one worker',
            )
        if len(self) == 0:
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

    def enumerate(self, start: int = 0) -> Iterator[tuple[int, Batch]]:
        """Count the batches as `enumerate(loader, start)` does; the count survives a restart."""
        return _Counted(self._entered(), start)

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

    def close(self) -> None:
        """End the stream, if one runs."""
        source = self.__dict__.get("_source")
        if source is not None:
            source.close()
            self._source = None

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
        """Yield the batches of a pass from a position on."""
        if self._settings.order == "research":
            for batch in self.torch_loader:
                yield Fetched(batch, 1, 1)
            return
        plan = self._canonical_plan()
        if plan is None:
            yield from self._listed(number, start)
            return
        steps = plan.steps_per_pass
        recipe = self._recipe(plan)
        for step in range(start, steps):
            self.plan = plan
            position = number * steps + step
            yield self._fetch_or_stream(recipe, position, *divmod(position, steps))

    def _fetch_or_stream(self, recipe: Recipe, position: int, number: int, step: int) -> Fetched:
        if self._open_source is None:
            return fetch(recipe, number, step, self._rank, self._world_size)
        if self._streams_from is None:
            self._streams_from = position + self._settings.block_steps
        if self._source is None and self._streams_from - position <= self._settings.block_steps // 2:
            # Not at once: a loader that is rarely used must not slow down the start of the others.
            self._source = self._open_source(recipe, self._streams_from, None)
        if self._source is None or position < self._streams_from:
            return fetch(recipe, number, step, self._rank, self._world_size)
        return self._source.get(position)

    def _listed(self, number: int, start: int) -> Iterator[Fetched]:
        """Yield one pass over the batches that the research code's own sampler draws."""
        recipe = self._recipe(self._drawn(number))
        for step in range(start, recipe.plan.steps_per_pass):
            self.plan = recipe.plan
            yield fetch(recipe, number, step, self._rank, self._world_size)

    def _drawn(self, number: int) -> ListedPlan:
        """Let the research code's sampler draw pass `number`: from (seed, pass) alone.

        What the sampler keeps for itself is made up for by drawing the passes before it again.
        """
        if self._num_drawn > number or _is_torchs(self.torch_loader):
            self._num_drawn = number
        while True:
            with preserved_generators():
                seed = mix(self._key, self._num_drawn)
                seed_generators(seed)
                drawn = list(self._draw(seed))
            self._num_drawn += 1
            if self._num_drawn > number:
                return ListedPlan(tuple(tuple(int(index) for index in batch) for batch in drawn))

    def _draw(self, seed: int) -> Iterator[Sequence[int]]:
        loader = self.torch_loader
        own = [
            loader.generator,
            *(getattr(s, "generator", None) for s in (loader.sampler, loader.batch_sampler)),
        ]
        inner = getattr(loader.batch_sampler, "sampler", None)
        for generator in [*own, getattr(inner, "generator", None)]:
            if isinstance(generator, torch.Generator):
                generator.manual_seed(seed & 0x7FFFFFFFFFFFFFFF)
        yield from loader.batch_sampler or ([index] for index in loader.sampler)

    def _canonical_plan(self) -> CanonicalPlan | None:
        """Return the plan of a plain shuffled or unshuffled loader, or None for custom samplers."""
        loader = self.torch_loader
        sampler = loader.sampler
        size = len(loader.dataset)  # type: ignore[arg-type]
        own_batches = loader.batch_sampler is not None and loader.batch_size is None
        shuffled = type(sampler) is RandomSampler and not sampler.replacement
        plain = shuffled or type(sampler) is SequentialSampler
        if own_batches or not plain or len(sampler) != size:  # type: ignore[arg-type]
            return None
        return CanonicalPlan(
            num_samples=size,
            batch_size=loader.batch_size or 1,
            shuffle=shuffled,
            drop_last=bool(loader.drop_last),
            key=self._key,
        )

    def _recipe(self, plan: Plan) -> Recipe:
        loader = self.torch_loader
        collate = loader.collate_fn
        if loader.batch_sampler is None:  # no batching: the sample itself is the batch
            collate = _Unbatched(loader.collate_fn)
        return Recipe(loader.dataset, plan, self._key, collate, loader.worker_init_fn)


class _Unbatched:
    """Collates a list of one sample as a loader with `batch_size=None` does: without a new axis."""

    def __init__(self, convert: Callable[[Any], Any]) -> None:
        self._convert = convert

    def __call__(self, samples: list[Any]) -> Any:
        return self._convert(samples[0])


def _is_torchs(loader: DataLoader[Any]) -> bool:
    """Whether what draws the batches is torch's own, which keeps nothing from pass to pass."""
    inner = getattr(loader.batch_sampler, "sampler", None)
    parts = [part for part in (loader.batch_sampler, loader.sampler, inner) if part is not None]
    return all(type(part).__module__.startswith("torch.utils.data") for part in parts)


_serials = itertools.count()


class LoaderPass(Iterator[Batch]):
    """One loop over a loader, which knows its position.

    An object and not a generator: a generator is also closed while an error unwinds one worker's
    stack, and the collective operations at the end of a pass would then wait for the others for ever.

    Attributes:
        loader: what it goes over.
        serial: when it was made, among all of this process.
        number: which pass over the loader it is, from 0.
        position: batches that it has given out (count).
        state: "new" until its first batch is asked for, "running", "ended" when it is used up.
        by_for: whether a `for` statement drives it, so that a restart that comes to this statement
            again can go on inside; not so for `next(iterator)` in somebody's own loop.
        site: file and line of the code that goes over it.
    """

    def __init__(self, loader: Loader[Batch], observer: PassObserver) -> None:
        self.loader = loader
        self.serial = next(_serials)
        self.number = 0
        self.position = 0
        self.state: Literal["new", "running", "ended"] = "new"
        self.by_for = False
        self.site = ""
        self._counted: weakref.ref[_Counted[Batch]] | None = None
        self._observer = observer
        self._batches: Iterator[Fetched] | None = None

    def __next__(self) -> Batch:
        return self.advance(sys._getframe(1))

    def advance(self, caller: FrameType) -> Batch:
        """Return the next batch to the code that `caller` is running."""
        if self.state == "ended":
            raise StopIteration
        if self.state == "running":
            self._observer.between_batches(self)
        elif not self._begin(caller):
            self.state = "ended"
            raise StopIteration
        begun = time.perf_counter()
        if self._batches is None:
            self._batches = self.loader.batches(self.number, self.position)
        fetched = next(self._batches, None)
        if fetched is None:
            self.state = "ended"
            self._observer.pass_ended(self)
            raise StopIteration
        if self.loader.pin_memory and torch.cuda.is_available():
            fetched = Fetched(_pinned(fetched.batch), fetched.num_samples, fetched.num_global)
        self.position += 1
        self._observer.batch_ready(self, fetched, time.perf_counter() - begun)
        batch: Batch = fetched.batch
        return batch

    def _begin(self, caller: FrameType) -> bool:
        if self.loader.silent:
            return False
        self.by_for = is_for_statement(caller)
        self.site = f"{caller.f_code.co_filename}:{caller.f_lineno}"
        self.number, self.position = self.loader.begin_pass()
        self.state = "running"
        return self._observer.pass_started(self)

    def move(self, number: int, position: int) -> None:
        """Go on with another pass or position."""
        self.number, self.position = number, position
        self.state = "running"
        self._batches = None

    @property
    def driver(self) -> object:
        """What the program's own code holds: this, or what counts its batches."""
        return (self._counted and self._counted()) or self

    @property
    def is_at_end(self) -> bool:
        """Whether it has given out its last batch, as far as that can be known."""
        return self.loader.can_seek and self.position >= len(self.loader)

    def end(self) -> None:
        """Give out nothing more."""
        self.state = "ended"

    def __del__(self) -> None:
        if self.state == "running":
            self._observer.pass_abandoned(self.serial)


class _Counted(Iterator[tuple[int, Batch]]):
    """Counts the batches of a pass by its position, so that the count survives a restart."""

    def __init__(self, entered: LoaderPass[Batch], start: int) -> None:
        self._entered = entered
        self._start = start
        entered._counted = weakref.ref(self)

    def __next__(self) -> tuple[int, Batch]:
        batch = self._entered.advance(sys._getframe(1))
        return self._start + self._entered.position - 1, batch


def _pinned(batch: Any) -> Any:
    return tree_map(lambda x: x.pin_memory() if isinstance(x, torch.Tensor) else x, batch)
