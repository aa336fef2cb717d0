"""`Run`: what a training program sees of Bessemer. It takes hold of the program at five places only.

The batch iterator, the outer iterator, where a model is placed, the optimizer's step, and what
leaves the program. The loop itself stays the researcher's. A `Run` knows nothing of Ray: it is given
its workers, its storage and its way out, so it works the same in a test, in one process, and under
Ray Train. The bookkeeping behind it is in `session`.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from bessemer.config.settings import Settings
from bessemer.data.loaders import Loader
from bessemer.data.sources.opening import open_for_all
from bessemer.errors import UserError
from bessemer.models.architectures import place, summarise
from bessemer.training.board import Board
from bessemer.training.leaving import copy_file, figure_to_file, inside, save_to_file
from bessemer.training.loops import OuterLoop
from bessemer.training.session import Session
from bessemer.training.values import Carried, Kept, Last, Tensors, Totals
from bessemer.utils.events import Note

if TYPE_CHECKING:
    import os

    import ray.data
    from matplotlib.figure import Figure

Model = TypeVar("Model", bound=nn.Module)

_LOADER_SIGNATURE = inspect.signature(DataLoader.__init__)
_current: Run | None = None


class Run:
    """A training run as its program sees it, on one worker.

    Attributes:
        settings: the project's settings.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.settings: Settings = session.given.settings

    @property
    def device(self) -> torch.device:
        """What this worker computes on."""
        return self._session.given.device

    @property
    def rank(self) -> int:
        """Number of this worker, from 0."""
        return self._session.group.rank

    @property
    def world_size(self) -> int:
        """Number of workers."""
        return self._session.group.size

    @property
    def is_main(self) -> bool:
        """Whether this is the main worker, the only one that prints and writes."""
        return self.rank == 0

    @property
    def output_dir(self) -> Path:
        """Folder for files that the program leaves; the same on every worker of a node."""
        return self._session.given.output_dir

    @property
    def step(self) -> int:
        """Optimizer steps so far (count)."""
        return self._session.hooks.step

    @property
    def is_in_loop(self) -> bool:
        """Whether an outer loop is being run."""
        return self._session.depth > 0

    @property
    def share(self) -> float:
        """This worker's fraction of the global batch being computed, in [0, 1]; 1 outside a loop.

        A mean over this worker's part of a batch counts that much: `totals.loss += loss * run.share`.
        """
        return self._session.passes.share

    def place(self, model: Model) -> Model:
        """Move a model to the device and make it equal on all workers; returns the same object.

        Its gradients are summed over workers at each optimizer step, however they are computed.
        """
        session = self._session
        session.settle()
        place(model, self.device, session.group)
        if not any(known is model for known in session.models):
            session.models.append(model)
            session.reducer.watch(model)
            session.outlet.event(summarise(model))
            session.keep_example(model)
            session.given.observer.model_placed(len(session.models) - 1, model)
        return model

    def track(self, **objects: Any) -> None:
        """Name what must survive a restart: models, optimizers, schedulers, scalers.

        Args:
            objects: anything with `state_dict` and `load_state_dict`, or tensors that are no part of a model,
                one or a list or dictionary of them, by a name of its own. Where a function that tracks is
                called again with other objects, the second is `name_2`, and so on.

        Raises:
            UserError: an object has no state, or several workers would train tensors of no model.
        """
        for name, value in objects.items():
            if Tensors.accept(value):
                self._track_tensors(name, value)
                continue
            if isinstance(value, list | tuple | dict):
                items = value.items() if isinstance(value, dict) else enumerate(value)
                self.track(**{f"{name}_{key}": item for key, item in items})
                continue
            if not (hasattr(value, "state_dict") and hasattr(value, "load_state_dict")):
                raise UserError(
                    f"run.track got {type(value).__name__} for {name!r}",
                    expected="an object with state_dict() and load_state_dict()",
                    todo="keep plain values in run.carry(...)",
                )
            self._session.tracked.add(name, value)

    def _track_tensors(self, name: str, value: Any) -> None:
        held = Tensors(value)
        if self.world_size > 1 and any(x.requires_grad for x in held.tensors().values()):
            raise UserError(
                f"run.track got tensors that are trained and are on no model, {name!r}, on several workers",
                expected="parameters of models that went through run.place(model)",
                todo="train with scaling.num_workers = 1, or make them parameters of a torch.nn.Module",
            )
        known = self._session.tracked.values()
        if not any(isinstance(x, Tensors) and x.value is value for x in known):
            self._session.tracked.add(name, held)

    def keep(self, owner: Any, *names: str) -> None:
        """Name attributes of an object that must survive a restart: counters, best values, histories.

        Args:
            owner: an object of the program, made before the loop that changes it.
            names: its attributes; one that holds no plain data when a checkpoint is taken is left out.
        """
        self._session.settle()
        number = self._session.created.next("values")
        self._session.add_values(Kept(owner, names), number)

    def loader(self, dataset: Dataset[Any], *args: Any, shard: bool = True, **kwargs: Any) -> Loader[Any]:
        """Return a loader with the arguments of torch's `DataLoader`; `batch_size` is the global one.

        Args:
            dataset: a map-style data set.
            args: as `DataLoader` takes them.
            shard: whether each worker gets its slice of each batch; otherwise all get whole batches.
            kwargs: as `DataLoader` takes them.

        Raises:
            UserError: the batch is smaller than the number of workers, or the data set is empty.
        """
        session = self._session
        session.settle()
        bound = _LOADER_SIGNATURE.bind(None, dataset, *args, **kwargs).arguments
        bound.pop("self")
        number = session.created.next("loader")
        loader: Loader[Any] = Loader(
            bound,
            shard=shard,
            number=number,
            settings=self.settings.data,
            group=session.group,
            observer=session.given.observer.over(session.passes),
            open_source=session.given.open_source,
            stored=session.known_data.samples(dataset, number),
        )
        session.add_loader(loader)
        session.given.observer.loader_made(loader)
        return loader

    def stream(
        self,
        dataset: ray.data.Dataset,
        batch_size: int = 1,
        shuffle: bool = False,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        drop_last: bool = False,
        shard: bool = True,
    ) -> Loader[Any]:
        """Return a loader over a Ray Data source, with the same order and restart as `loader`.

        The rows are materialised in the object store once; each sample is a row as a dict of
        Python values and NumPy arrays.

        Raises:
            UserError: the workers have reserved every CPU, so that Ray Data has none to read with.
        """
        from bessemer.data.rows import materialise

        rows = materialise(dataset) if self.is_main else None
        rows = self._session.group.broadcast_object(rows)
        if isinstance(rows, UserError):
            raise rows
        return self.loader(rows, batch_size, shuffle, collate_fn=collate_fn, drop_last=drop_last, shard=shard)

    def source(self, name: str, transform: Callable[[Any], Any] | None = None) -> Dataset[Any]:
        """Open the data that `[data.sources.NAME]` of `settings.toml` declares; call it on every worker.

        Args:
            name: of the source.
            transform: makes a sample of a row; random numbers in it depend on (seed, pass, row).

        Raises:
            UserError: no source has this name, or there are no such data.
        """
        self._session.settle()
        return open_for_all(self.settings, name, self._session.group, transform)

    def epochs(self, *range_or_items: Any) -> OuterLoop[Any]:
        """Return the outer iterator: `run.epochs(10)`, `run.epochs(1, 11)`, or over any iterable.

        Without an argument it counts for ever. Between its turns a checkpoint is taken; after a restart it
        goes on with the next turn.
        """
        items: Iterable[Any]
        if not range_or_items:
            items = itertools.count()
        elif len(range_or_items) == 1 and not isinstance(range_or_items[0], int):
            items = range_or_items[0]
        else:
            items = range(*range_or_items)
        self._session.settle()
        return OuterLoop(items, self._session.created.next("loop"), self._session)

    def epochs_while(self, condition: Callable[[], Any]) -> OuterLoop[int]:
        """Return an outer iterator that counts as long as a condition holds, asked before each turn.

        Args:
            condition: asked again after a restart, which has put back what it decides by.
        """
        self._session.settle()
        number = self._session.created.next("loop")
        return OuterLoop(itertools.count(), number, self._session, condition=condition)

    def steps_while(self, condition: Callable[[], Any]) -> OuterLoop[int]:
        """Return an outer iterator like `epochs_while` whose turns are steps."""
        self._session.settle()
        number = self._session.created.next("loop")
        return OuterLoop(itertools.count(), number, self._session, counts_steps=True, condition=condition)

    def steps(self, *range_args: int) -> OuterLoop[int]:
        """Return an outer iterator that counts, for ever without an argument: for `while True`."""
        items = range(*range_args) if range_args else itertools.count()
        self._session.settle()
        return OuterLoop(items, self._session.created.next("loop"), self._session, counts_steps=True)

    def carry(self, **initial: Any) -> Carried:
        """Return values that the loop keeps for itself, as attributes that survive a restart."""
        self._session.settle()
        number = self._session.created.next("values")
        carried = Carried(initial)
        self._session.add_values(carried, number)
        return carried

    def last(self, **initial: Any) -> Last:
        """Return what a loop leaves behind, as attributes: values that are set in it and read after it.

        A restart that passes over a loop that was complete finds them as they were; one that is no plain
        data is not there then.
        """
        self._session.settle()
        number = self._session.created.next("values")
        left = Last(initial)
        self._session.add_values(left, number)
        return left

    def totals(self, **initial: Any) -> Totals:
        """Return sums as attributes; what is added in a loop over a sharded loader is summed over
        workers when that loop ends, so an evaluation is exact at any number of workers."""
        self._session.settle()
        number = self._session.created.next("values")
        totals = Totals(initial, number, self._session.settle)
        self._session.add_values(totals, number)
        return totals

    def log(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Record metrics: numbers, or tensors with one element, which are not waited for.

        In a loop over a sharded loader the value of the whole batch is recorded: the mean over
        workers, weighted by their share of it. Call it on every worker; only the main one writes.

        Args:
            metrics: values by name, such as `{"train/loss": loss}`.
            step: optimizer step that they belong to; by default the current one.
        """
        session = self._session
        session.settle()
        session.metrics.add(
            metrics,
            self.step if step is None else step,
            share=self.share,
            in_pass=session.passes.any,
            combine=session.passes.sharded,
        )
        if not session.passes.any:
            session.metrics.flush(everyone=False)

    def save(self, value: Any, name: str | os.PathLike[str]) -> Path:
        """Write what `torch.save` would, under the run's own folder, and keep it with the run.

        Returns:
            Where the main worker wrote it.
        """
        self._session.settle()
        target = inside(self.output_dir, name)
        if self.is_main and not self._session.outlet.muted:
            save_to_file(value, target)
            self._session.outlet.file(target, "files")
        return target

    def saved(self, name: str | os.PathLike[str]) -> Path:
        """Return where `save` wrote a file, once the main worker has written it; call it on every worker."""
        self._session.settle()
        target, home = inside(self.output_dir, name), self._session.given.home
        if home is not None and self.is_main and not self._session.outlet.muted and target.is_file():
            home.send_file(target)
        nodes = self._session.group.gather_objects(home.node if home is not None else None)
        if home is not None and home.node != nodes[0]:
            home.fetch_file(target.relative_to(self.output_dir).as_posix())
        return target

    def copy(self, name: str | os.PathLike[str], target: str | os.PathLike[str]) -> Path:
        """Copy a file that `save` wrote, as `shutil.copyfile` would, and keep the copy with the run.

        Returns:
            Where the main worker wrote it.
        """
        self._session.settle()
        source, to = inside(self.output_dir, name), inside(self.output_dir, target)
        if self.is_main and not self._session.outlet.muted:
            copy_file(source, to)
            self._session.outlet.file(to, "files")
        return to

    def path(self, name: str | os.PathLike[str]) -> Path:
        """Return where a library function is to write a file, which is written once and kept with the run.

        `save_image(images, run.path("samples.png"))`: call it on every worker, and write on every worker.
        The file is recorded at the end of the turn of the outer loop, or of the program.
        """
        self._session.settle()
        return self._session.written.path(name)

    def board(self) -> Board:
        """Return what takes the place of a TensorBoard `SummaryWriter`, and writes to this run."""
        return Board(self, lambda text: self._session.outlet.event(Note(text)))

    def figure(self, figure: Figure, name: str | os.PathLike[str]) -> Path:
        """Write a matplotlib figure under the run's own folder, and keep it with the run.

        Returns:
            Where the main worker wrote it.
        """
        self._session.settle()
        target = inside(self.output_dir, name)
        if not target.suffix:
            target = target.with_suffix(".png")
        if self.is_main and not self._session.outlet.muted:
            figure_to_file(figure, target)
            self._session.outlet.file(target, "figures")
        return target


def current_run() -> Run:
    """Return the run of this process, from anywhere in the program.

    Raises:
        UserError: no run is going on.
    """
    if _current is None:
        raise UserError(
            "current_run() was called outside of a run",
            expected="a program that bessemer trains",
            todo="start it with `bessemer train` or bessemer.fit(...)",
        )
    return _current


def set_current_run(run: Run | None) -> None:
    """Make a run the one that `current_run` returns; for whoever starts a program."""
    global _current
    _current = run
