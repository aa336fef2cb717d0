"""Watches a program's own evaluation on a worker: what the model returns for each batch it is given.

From the moment that the checkpoint is put back, a forward hook on each placed model keeps what it returns
while the program has a batch of a loader that it does not train on. When the batch is done with, its
samples become rows of the table of predictions. The program is not changed by it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils._pytree import tree_map

from bessemer.config.judgement_settings import Evaluation
from bessemer.config.project import resolve_function
from bessemer.data.datasets import Fetched
from bessemer.data.iteration import LoaderPass, PassObserver
from bessemer.data.loaders import Loader
from bessemer.errors import UserError
from bessemer.judgement.names import name_in_program, split_names
from bessemer.judgement.outputs import UnseenError, input_of
from bessemer.judgement.recording import Record
from bessemer.judgement.splits import Split, chosen_split
from bessemer.judgement.weights import put_weights
from bessemer.training.observing import Observer, Watched
from bessemer.training.session import Session
from bessemer.training.surroundings import ProgramInspected


@dataclass(frozen=True)
class Watch:
    """What the workers are told to look for.

    Attributes:
        folder: where each writes its part.
        split: data that are asked for; "" for those that the program judges itself on.
        evaluation: settings.
        search_path: folders in front of `sys.path`.
        weights: file with the weights of a registered model, or None for those of the checkpoint.
    """

    folder: Path
    split: str
    evaluation: Evaluation
    search_path: tuple[str, ...] = ()
    weights: Path | None = None


@dataclass
class _Batch:
    """A batch that the program has now."""

    record: Record
    ids: NDArray[np.int64]
    batch: Any
    calls: list[tuple[int, Any]] = field(default_factory=list)


class Hook:
    """What is called with a model; a copy of the model has it too, and one that is saved has none.

    Args:
        tell: called with what torch hands to hooks; None to do nothing.
    """

    def __init__(self, tell: Callable[..., None] | None = None) -> None:
        self._tell = tell

    def __call__(self, *call: Any) -> None:
        """Tell of a call of the model."""
        if self._tell is not None:
            self._tell(*call)

    def __deepcopy__(self, _memo: object) -> Hook:
        return self

    def __reduce__(self) -> tuple[type[Hook], tuple[()]]:
        return Hook, ()


class Watcher(Observer):
    """The observer of one worker.

    Args:
        watch: what to look for.
        rank: the worker.
    """

    def __init__(self, watch: Watch, rank: int) -> None:
        self._watch = watch
        self._rank = rank
        self._models: list[nn.Module] = []
        self._in_call = 0
        self._names: dict[int, str] = {}
        self._loaders: weakref.WeakValueDictionary[int, Loader[Any]] = weakref.WeakValueDictionary()
        self._session: Session | None = None
        self._split = Split()
        self._records: dict[int, Record] = {}
        self._open: _Batch | None = None

    # What the program makes

    def over(self, passes: PassObserver) -> PassObserver:
        """See `Observer`."""
        return Watched(passes, self)

    def model_placed(self, number: int, model: nn.Module) -> None:
        """Hook a model; calls that it makes of other placed models are its own affair."""
        self._models.append(model)
        model.register_forward_pre_hook(Hook(lambda *_: self._call_began()))
        model.register_forward_hook(Hook(lambda *call: self._call_ended(number, call[-1])), always_call=True)

    def loader_made(self, loader: Loader[Any]) -> None:
        """Learn what the program calls a loader."""
        self._names[loader.number] = name_in_program(2)
        self._loaders[loader.number] = loader
        if self._session is not None:
            self._put_split_behind(loader)

    def arrived(self, session: Session) -> None:
        """Find the data that are asked for, and begin to look."""
        self._session = session
        names = split_names(self._names, sorted(session.passes.stepped))
        self._split = chosen_split(
            self._watch.split,
            names,
            self._loaders,
            session.passes.stepped,
            session.given.settings,
            self._watch.search_path,
        )
        for loader in list(self._loaders.values()):
            self._put_split_behind(loader)
        if self._watch.weights is not None:
            put_weights(self._watch.weights, self._models)
        if self._watch.evaluation.predict:
            self._predict(session)

    def _put_split_behind(self, loader: Loader[Any]) -> None:
        assert self._session is not None
        if self._split.dataset is not None and loader.number not in self._session.passes.stepped:
            loader.judge(self._split.dataset)

    # Batches

    def batch_began(self, entered: LoaderPass[Any], fetched: Fetched) -> None:
        """Keep the batch that the program has now, if it is one to be judged by."""
        self.batch_ended()
        session = self._session
        if session is None or self._watch.evaluation.task == "none":
            return
        record = self._record_of(entered, session)
        if record is None or record.reason:
            return
        try:
            ids = record.expect(fetched, entered)
        except UnseenError as unseen:
            record.reason = unseen.reason
            return
        if not entered.loader.shard and self._rank > 0:
            ids = ids[:0]  # all have the whole batch, and the main worker tells of it
        self._open = _Batch(record, ids, fetched.batch)

    def batch_ended(self) -> None:
        """Make rows of the batch that the program is done with."""
        done, self._open = self._open, None
        if done is None or not len(done.ids):
            return
        record = done.record
        try:
            number, returned = self._only_call(done)
            record.take(self._described(number), returned, done.batch, done.ids)
        except UnseenError as unseen:
            if self._watch.evaluation.task != "auto":
                self._refuse(unseen)
            record.reason = unseen.reason

    def _record_of(self, entered: LoaderPass[Any], session: Session) -> Record | None:
        """Return the record of the first loop over each loader that is to be judged by."""
        loader = entered.loader
        if self._split.only is not None and loader.number != self._split.only:
            return None
        record = self._records.get(loader.number)
        if record is None:
            if self._split.dataset is not None and self._records:
                return None  # the same data are behind every loader
            names = split_names(self._names, sorted(session.passes.stepped))
            record = self._records[loader.number] = Record(
                self._watch.folder,
                loader,
                self._split.name or names[loader.number],
                session.group,
                self._watch.evaluation,
                self._watch.search_path,
            )
            record.serial = entered.serial
        return record if record.serial == entered.serial else None

    # Calls of models

    def _call_began(self) -> None:
        self._in_call += 1

    def _call_ended(self, number: int, returned: Any) -> None:
        self._in_call -= 1
        if self._in_call == 0 and self._open is not None:
            self._open.calls.append((number, returned))

    def _only_call(self, done: _Batch) -> tuple[int, Any]:
        """Return the one call that made the prediction: the last one, if no model was called twice."""
        if not done.calls:
            raise UnseenError("no model that was placed is called as `model(...)` in the loop over the data")
        numbers = [number for number, _ in done.calls]
        often = next((number for number in numbers if numbers.count(number) > 1), None)
        if often is not None:
            times = numbers.count(often)
            raise UnseenError(f"{self._described(often)} is called {times} times for a batch")
        return done.calls[-1]

    def _described(self, number: int) -> str:
        name = type(self._models[number]).__name__
        if self._session is None or len(self._models) == 1:
            return name
        tracked = [key for key, value in self._session.tracked.items() if value is self._models[number]]
        return f"{name} ({tracked[0] if tracked else f'placed.{number}'})"

    # A loop of our own

    def _predict(self, session: Session) -> NoReturn:
        """Go over the data with the project's `predict` instead of its evaluation, and end the program."""
        reference = self._watch.evaluation.predict
        predict = resolve_function(reference, list(self._watch.search_path))
        model: Any = self._models[0] if len(self._models) == 1 else list(self._models)
        for each in self._models:
            each.eval()
        for loader in self._judged(session):
            loader.silent = False
            if self._split.dataset is None:
                loader.judge(loader.dataset)
            with torch.no_grad():
                for batch in loader:
                    moved = tree_map(
                        lambda x: x.to(session.given.device) if isinstance(x, torch.Tensor) else x, batch
                    )
                    self._predicted(predict(model, moved), reference)
        raise ProgramInspected

    def _predicted(self, answer: Any, reference: str) -> None:
        if not isinstance(answer, tuple) or len(answer) != 2:
            raise UserError(
                f"{reference} returned a {type(answer).__name__}",
                expected="a pair: scores, and the target they are compared with (both tensors)",
                todo="correct the function, or leave evaluation.predict empty",
            )
        if self._open is not None:
            # Each call that it made of a model counts for nothing: what it returned does.
            self._open.calls = [(0, answer[0])]
            self._open.batch = {"input": input_of(self._open.batch), "target": answer[1]}

    def _judged(self, session: Session) -> list[Loader[Any]]:
        numbers = [n for n in sorted(self._loaders) if n not in session.passes.stepped]
        if self._split.only is not None:
            numbers = [self._split.only]
        elif self._split.dataset is not None:
            numbers = (numbers or sorted(self._loaders))[:1]
            for number in numbers:
                self._loaders[number].judge(self._split.dataset)
        if not numbers:
            raise UserError(
                "the program makes no loader that it does not train on",
                expected="data to judge by",
                todo="name some: --split train, or a source of [data.sources]",
            )
        return [self._loaders[number] for number in numbers]

    def _refuse(self, unseen: UnseenError) -> NoReturn:
        task = self._watch.evaluation.task
        raise UserError(
            f"evaluation.task is {task!r}, but {unseen.reason}",
            expected=f"one output of the model for each batch that can be read as {task}",
            todo='set evaluation.task = "auto", or name a function in evaluation.predict',
        ) from None

    def finish(self) -> None:
        """Write this worker's part."""
        self.batch_ended()
        for record in self._records.values():
            record.close()
