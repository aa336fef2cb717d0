"""Gradients over workers: what backward() leaves is the gradient of the global batch, on every worker.

Worker r has n_r of the n samples of a global batch, and backward() computes the gradient g_r of its
own loss. The gradient of a mean loss over the global batch is the sum of (n_r / n) g_r, that of a sum
loss the sum of g_r. backward() begins with the factor instead of with one, which scales everything
that it computes at no cost, and ends with the sum over workers. So clipping, loss scalers, updates by
hand and whatever else looks at gradients see those that the research code had on one machine.

Models are not wrapped, so it does not matter how the loss came about. What backward() adds is summed
for itself and then added to what was there: accumulation over batches of different size is exact.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import nn

from bessemer.errors import TrainingError
from bessemer.models.buckets import Bucket, buckets
from bessemer.utils.collectives import Group

# What `backward()` and `torch.autograd.grad` call; private to torch, a test says when it has changed.
ENGINE = "_engine_run_backward"

_Gradients = dict[torch.Tensor, torch.Tensor]


class Rider(Protocol):
    """A few numbers that workers tell each other along with their gradients.

    Attributes:
        num_wishes: of each worker (count).
    """

    num_wishes: ClassVar[int]

    def wishes(self) -> list[float]:
        """Return this worker's numbers, whose sums are exact in float32."""

    def heard(self, wishes: Sequence[float]) -> None:
        """Take their sum over workers."""


class GradientReducer:
    """Scales what backward() computes by this worker's share of the batch, and adds it over workers.

    Every worker calls backward() as often and in the same order. Buckets of gradients are summed while
    backward() goes on: those that the same call had in the batch before, in the same order, so all
    workers launch the same ones. At its end the workers tell each other which gradients they have and
    launch what is left, so that nothing depends on the guess. On the CPU they tell it with the last of
    these buckets, which waits for the end of backward(), else in an operation beside them.

    Args:
        group: the workers.
        reduction: what the loss does over its batch.
        share: returns n_r / n of the batch being computed, or None where every worker computes the
            same and counts for its part of one.
        rider: numbers of each worker that travel with the gradients and are summed like them.
    """

    def __init__(
        self,
        group: Group,
        reduction: Literal["mean", "sum"],
        share: Callable[[], float | None],
        rider: Rider | None = None,
    ) -> None:
        self._group = group
        self._reduction = reduction
        self._share = share
        self._rider = rider
        self._watched: dict[torch.Tensor, int] = {}
        self._bucket_of: dict[torch.Tensor, Bucket] = {}
        self._handles: list[Any] = []
        self._call = 0
        self._had: dict[int, tuple[list[Bucket], list[int]]] = {}
        self._expected: list[Bucket] = []
        self._carrier: Bucket | None = None
        self._num_told = 0
        self._factor_now = 1.0
        self._thread: int | None = None
        self._added: set[torch.Tensor] = set()
        self._again = False
        self._overlaps = True
        self._engine: Callable[..., Any] | None = None
        if group.size > 1:
            # A group of its own: what is told there may overtake gradients that are on their way.
            self._beside = group.beside()
            self._engine = getattr(torch.autograd, ENGINE)
            setattr(torch.autograd, ENGINE, functools.partial(self._run, self._engine))

    def close(self) -> None:
        """Leave torch as it was."""
        if self._engine is not None:
            setattr(torch.autograd, ENGINE, self._engine)
            self._engine = None
        for handle in self._handles:
            handle.remove()

    def watch(self, model: nn.Module) -> None:
        """Sum the gradients of a model's parameters from now on."""
        if self._group.size == 1:
            return
        for parameter in model.parameters():
            if parameter in self._watched:
                continue
            self._watched[parameter] = len(self._watched)
            # A frozen parameter takes no hook, and may be trained later.
            frozen = not parameter.requires_grad
            if frozen and parameter.is_floating_point():
                parameter.requires_grad_(True)
            if parameter.requires_grad:
                hook = parameter.register_post_accumulate_grad_hook(self._computed)  # type: ignore[no-untyped-call]
                self._handles.append(hook)
            if frozen:
                parameter.requires_grad_(False)

    def new_round(self) -> None:
        """Begin a batch or a turn: the next backward() is the first."""
        self._call = 0

    def check_watched(self, parameters: Iterable[torch.Tensor]) -> None:
        """Refuse parameters whose gradients nobody sums.

        Raises:
            TrainingError: a parameter is not on a placed model.
        """
        if self._group.size == 1:
            return
        for parameter in parameters:
            if parameter.requires_grad and parameter not in self._watched:
                raise TrainingError(
                    f"an optimizer steps a parameter of shape {tuple(parameter.shape)} that is on no "
                    "placed model",
                    expected="parameters of models that went through run.place(model)",
                    todo="call run.place on every model before its optimizer is made",
                )

    def reduced_loss(self, loss: torch.Tensor) -> torch.Tensor:
        """Return the loss of the global batch from each worker's loss of its own slice."""
        factor = self._factor()
        own = loss.detach() * factor if factor > 0 else torch.zeros_like(loss)
        return self._group.sum_(own)

    def _factor(self) -> float:
        """Return what this worker's loss counts for; 0 if it only stands in for a missing sample."""
        share = self._share()
        if share is None:
            return 1 / self._group.size
        return share if self._reduction == "mean" else float(share > 0)

    # torch's backward engine

    def _run(self, engine: Callable[..., Any], tensors: Any, seeds: Any, *args: Any, **kwargs: Any) -> Any:
        """Run torch's engine, which `backward()` and `torch.autograd.grad` both call."""
        if self._thread is not None:
            return self._run_within(engine, tensors, seeds, *args, **kwargs)
        if not kwargs.get("accumulate_grad"):
            return self._run_grad(engine, tensors, seeds, *args, **kwargs)
        self._factor_now = self._factor()
        self._added.clear()
        before = self._set_aside()
        self._expect()
        self._thread = threading.get_ident()
        try:
            result = engine(tensors, self._scaled(seeds), *args, **kwargs)
        except BaseException:
            self._give_up(before)
            raise
        finally:
            self._thread = None
        with torch.no_grad():
            present = self._sum_all()
            _add(before, present)
        return result

    def _run_within(self, engine: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a backward pass in a backward pass, such as that of a recomputed checkpoint."""
        own = threading.get_ident() == self._thread
        if not own and not isinstance(threading.current_thread(), threading._DummyThread):
            raise TrainingError(
                "two threads of the program compute gradients at the same time",
                expected="one backward() after the other, as workers sum gradients in one order",
                todo="call backward() in one thread, or set scaling.num_workers = 1",
            )
        return engine(*args, **kwargs)

    def _run_grad(
        self, engine: Callable[..., Any], tensors: Any, seeds: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Run `torch.autograd.grad`; gradients of parameters become those of the global batch."""
        _retain_graph, create_graph, inputs = args[:3]
        of_parameters = [number for number, tensor in enumerate(inputs) if tensor in self._watched]
        if create_graph or not of_parameters:
            return engine(tensors, seeds, *args, **kwargs)
        self._factor_now = self._factor()
        result = list(engine(tensors, self._scaled(seeds), *args, **kwargs))
        for number in of_parameters:
            if result[number] is not None:
                part = result[number].clone() if self._factor_now else torch.zeros_like(result[number])
                result[number] = self._group.sum_(part)
        return tuple(result)

    def _scaled(self, seeds: Sequence[torch.Tensor | None]) -> tuple[torch.Tensor | None, ...]:
        factor = self._factor_now
        if factor in (0, 1):  # what does not count is left out by the sum: zero times infinity is not zero
            return tuple(seeds)
        return tuple(None if seed is None else seed * factor for seed in seeds)

    def _set_aside(self) -> _Gradients:
        """Take away the gradients that are there, which are summed already."""
        before = {p: p.grad for p in self._watched if p.grad is not None}
        for parameter in before:
            parameter.grad = None
        return before

    def _give_up(self, before: _Gradients) -> None:
        """Put back what was there; nobody waits for the sums, since this worker cannot take part."""
        for bucket in self._expected:
            bucket.forget()
        for parameter, gradient in before.items():
            parameter.grad = gradient

    # The sum

    def _expect(self) -> None:
        """Prepare for what the same backward() of the batch before computed."""
        had = self._had.get(self._call)
        self._expected, missing = had if had and self._overlaps else ([], [])
        for bucket, num_missing in zip(self._expected, missing, strict=True):
            bucket.num_missing = num_missing
        self._num_told = 1 + (self._rider.num_wishes if self._rider else 0) + len(self._watched)
        carries = bool(self._expected) and self._expected[-1].carries
        fits = carries and all(bucket.fits(self._num_told) for bucket in self._expected)
        self._carrier = self._expected[-1] if fits else None

    def _computed(self, parameter: torch.Tensor) -> None:
        """A gradient is complete; launch the buckets that are, in order."""
        if self._thread is None:
            return  # added by hand, outside of backward()
        if parameter in self._added:
            self._again = True  # the engine came twice: what was launched is not the whole
            return
        self._added.add(parameter)
        bucket = self._bucket_of.get(parameter)
        if bucket is None:
            return
        bucket.num_missing -= 1
        for expected in self._expected:
            if not expected.is_launched:
                is_late = expected is self._carrier or expected.num_missing != 0
                if is_late or not expected.fits(self._num_told):
                    return
                expected.launch(self._group, self._factor_now > 0)

    def _sum_all(self) -> set[torch.Tensor]:
        """Sum what is not under way yet; return the parameters that have a gradient on any worker."""
        parameters = list(self._watched)
        here = [p.grad is not None for p in parameters]
        self._refuse_sparse(parameters)
        wishes = self._rider.wishes() if self._rider else []
        again, *heard = self._tell([float(self._again), *wishes, *map(float, here)])
        if self._rider:
            self._rider.heard(heard[: len(wishes)])
        present = {p for p, count in zip(parameters, heard[len(wishes) :], strict=True) if count}
        needed = self._needed(present)
        self._launch(needed)
        if again:
            self._again = self._overlaps = False
            for bucket in needed:
                bucket.wait()
            self._launch(needed)
        for bucket in needed:
            bucket.finish(present)
        for bucket in self._expected:
            bucket.forget()  # of which no worker has a gradient any more
        self._had[self._call] = needed, [sum(p in present for p in b.parameters) for b in needed]
        self._call += 1
        return present

    def _tell(self, told: Sequence[float]) -> list[float]:
        """Return the sum over workers of what each tells; it arrives with the gradients, not after them."""
        if self._carrier is not None:
            # Every worker has the same ones in the same order, whichever of their gradients it has.
            self._launch(self._expected[:-1])
            self._carrier.launch(self._group, self._factor_now > 0, told)
            for bucket in self._expected:
                bucket.arrive()
            return self._carrier.heard()
        numbers = torch.tensor(told, dtype=torch.float64)
        telling = self._beside.begin_sum_(numbers)
        for bucket in self._expected:
            bucket.arrive()
        telling.wait()
        summed: list[float] = numbers.tolist()
        return summed

    def _launch(self, chosen: Iterable[Bucket]) -> None:
        for bucket in chosen:
            if not bucket.is_launched:
                bucket.launch(self._group, self._factor_now > 0)

    def _needed(self, present: set[torch.Tensor]) -> list[Bucket]:
        """Return the buckets of gradients, expected ones first; the same list on every worker."""
        for parameter in present:
            bucket = self._bucket_of.get(parameter)
            if bucket is not None and not bucket.is_launched and not bucket.fits(self._num_told):
                for member in bucket.parameters:
                    del self._bucket_of[member]
        # Gradients of the last layers are computed first.
        homeless = [p for p in present if p not in self._bucket_of]
        for bucket in buckets(sorted(homeless, key=self._watched.__getitem__, reverse=True), self._num_told):
            self._bucket_of.update(dict.fromkeys(bucket.parameters, bucket))
        ordered = sorted(present, key=self._watched.__getitem__, reverse=True)
        needed = dict.fromkeys(self._bucket_of[parameter] for parameter in ordered)
        first = [bucket for bucket in self._expected if bucket in needed]
        return [*first, *(bucket for bucket in needed if bucket not in first)]

    def _refuse_sparse(self, parameters: Iterable[torch.Tensor]) -> None:
        for parameter in parameters:
            if parameter.grad is not None and parameter.grad.is_sparse:
                raise TrainingError(
                    f"a sparse gradient of shape {tuple(parameter.shape)}",
                    expected="dense gradients when there is more than one worker",
                    todo="make the embedding with sparse=False, or set scaling.num_workers = 1",
                )


def _add(before: _Gradients, present: set[torch.Tensor]) -> None:
    """Add what backward() computed to what was there, in place, as torch does."""
    for parameter, gradient in before.items():
        if parameter in present and parameter.grad is not None:
            gradient.add_(parameter.grad)
        parameter.grad = gradient
