"""The tape: what a training process computes, event by event, to the last bit.

`site/sitecustomize.py` begins it in every process that imports torch; the program is not changed.
A process writes `<pid>.jsonl` with its first event, so helpers leave nothing. Floats are hex:

    {"rank": 0}                              at the top; null outside of Bessemer
    {"loss": "0x1.2p+1", "leaves": "9f..."}  each scalar that `backward()` is called on
    {"step": "Adam", "digest": "41...", "total": "0x1.ap+12"}    after each optimizer's step
    {"note": "dropout"}                      something that bears on what can be compared
    {"cut": true}                            `steps` were reached, and the process was ended here

`digest` covers every bit of the parameters of the optimizer that stepped, `total` is the sum of |p| in
float64, for people. As long as no optimizer has stepped, each loss has the digest of the parameters that
it depends on, found in its graph: so updates by hand are compared too. `share` is the worker's fraction
of the global batch.

This module is loaded by its path and imports nothing but the standard library when it is.
"""

from __future__ import annotations

import functools
import gc
import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

CONFIGURATION = "tape.json"
SITE = Path(__file__).resolve().parent / "site"

_RUN_MODULE = "bessemer.training.run"
# What draws a mask while it trains, and where its probability and `training` stand.
_DROPOUTS = (
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "alpha_dropout",
    "feature_alpha_dropout",
)


class Finished(SystemExit):
    """Ends the program after so many steps, with exit status 0."""


def configure(
    folder: Path,
    *,
    steps: int = 0,
    ends_run: bool = False,
    is_even: bool = False,
    is_shaken: bool = False,
) -> None:
    """Make a folder for the tapes of one run, and say how they are made.

    Args:
        folder: made here; must not exist.
        steps: optimizer steps after which a process is ended (count); 0: never. Where no optimizer
            is made, losses are counted.
        ends_run: end it as Bessemer ends a run that is asked to stop, not as Python ends a process.
        is_even: switch off what makes several workers compute something else than one does: dropout,
            and statistics of a batch.
        is_shaken: change gradients and parameters in their last bits, as adding in another order does,
            to find out how far that carries the program.
    """
    folder.mkdir(parents=True)
    text = json.dumps({"steps": steps, "ends_run": ends_run, "is_even": is_even, "is_shaken": is_shaken})
    (folder / CONFIGURATION).write_text(text, encoding="utf-8")


def environment_of(folder: Path, environment: dict[str, str], seed: int | None) -> dict[str, str]:
    """Return an environment whose Python processes are taped; None seeds nothing."""
    path = [str(SITE), *filter(None, [environment.get("PYTHONPATH")])]
    more = {"VERIFY_TAPE": str(folder), "PYTHONPATH": os.pathsep.join(path)}
    if seed is not None:
        more["VERIFY_TAPE_SEED"] = str(seed)
    return {**environment, **more}


def begin(torch: Any, folder: str) -> None:
    """Tape this process from now on; called once, right after torch has loaded."""
    configuration = json.loads((Path(folder) / CONFIGURATION).read_text(encoding="utf-8"))
    torch.set_num_threads(1)
    _Recorder(torch, Path(folder), **configuration).hook()


class _Recorder:
    """Hooks into torch and writes what happens."""

    def __init__(
        self, torch: Any, folder: Path, steps: int, ends_run: bool, is_even: bool, is_shaken: bool
    ) -> None:
        self._torch = torch
        self._folder = folder
        self._steps = steps
        self._ends_run = ends_run
        self._is_even = is_even
        self._shakes = torch.Generator().manual_seed(0) if is_shaken else None
        self._file: IO[str] | None = None
        self._pid = 0
        self._num_losses = self._num_steps = 0
        self._is_cut = False
        self._notes: set[str] = set()
        self._generator: bytes | None = None
        self._inside = threading.local()

    def hook(self) -> None:
        from torch.optim.optimizer import register_optimizer_step_post_hook

        # `Tensor.backward` calls this too, by its name.
        self._torch.autograd.backward = self._taped(self._torch.autograd.backward)
        register_optimizer_step_post_hook(self._stepped)
        if self._is_even:
            _even(self._torch, self._note)

    def _taped(self, backward: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(backward)
        def taped(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            if getattr(self._inside, "backward", False):  # a checkpointed part, computed again
                return backward(tensors, *args, **kwargs)
            if not isinstance(tensors, self._torch.Tensor | tuple | list):
                tensors = tuple(tensors)
            given = [tensors] if isinstance(tensors, self._torch.Tensor) else tensors
            losses = [tensor for tensor in given if getattr(tensor, "numel", int)() == 1]
            for loss in losses:
                self._loss(loss)
            shaken = [p for loss in losses for p in leaves(loss)] if self._shakes is not None else []
            self._inside.backward = True
            try:
                result = backward(tensors, *args, **kwargs)
            finally:
                self._inside.backward = False
            for parameter in shaken:
                self._shake(parameter.grad)
            if losses and self._steps and not self._num_steps and self._num_losses % self._steps == 0:
                self._end_unless_an_optimizer_is_there()
            return result

        return taped

    def _loss(self, loss: Any) -> None:
        self._watch_generator()
        self._num_losses += 1
        event: dict[str, Any] = {"loss": float(loss.detach()).hex()}
        if not self._num_steps:
            event["leaves"] = self._digest(leaves(loss))
        if (run := _run()) is not None and run.world_size > 1:
            event["share"] = run.share
        self._write(event)

    def _stepped(self, optimizer: Any, _args: Any, _kwargs: Any) -> None:
        self._num_steps += 1
        parameters = [p.detach() for group in optimizer.param_groups for p in group["params"]]
        total = sum(float(p.abs().double().sum()) for p in parameters)
        self._write(
            {
                "step": type(optimizer).__name__,
                "digest": self._digest(parameters),
                "total": float(total).hex(),
            }
        )
        if self._shakes is not None:
            for parameter in parameters:
                self._shake(parameter)
        if self._steps and self._num_steps >= self._steps:
            self._end()

    def _digest(self, parameters: Any) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for parameter in parameters:
            plain = parameter.detach().cpu().contiguous()
            digest.update(f"{plain.dtype}{tuple(plain.shape)}".encode())
            # One element may have any stride, which a view of its bytes does not take.
            flat = plain.as_strided((plain.numel(),), (1,))
            digest.update(flat.view(self._torch.uint8).numpy())
        return digest.hexdigest()

    def _shake(self, values: Any) -> None:
        """Add to values what rounding adds: their last bits, of their usual size where they are small."""
        torch = self._torch
        if values is None or values.is_sparse or not values.is_floating_point():
            return
        with torch.no_grad():
            usual = values.square().mean().sqrt()
            size = torch.maximum(values.abs(), usual) * torch.finfo(values.dtype).eps
            signs = torch.empty(values.shape).uniform_(-1, 1, generator=self._shakes)
            # Where nothing is computed there is no rounding.
            values.add_((size * signs.to(values)) * (values != 0))

    def _watch_generator(self) -> None:
        """Note that random numbers were drawn between two losses: each worker draws its own."""
        if self._is_even and "draws" not in self._notes:
            state = self._torch.get_rng_state().numpy().tobytes()
            if self._generator not in (None, state):
                self._note("draws")
            self._generator = state

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.add(text)
            self._write({"note": text})

    def _end_unless_an_optimizer_is_there(self) -> None:
        optimizer = self._torch.optim.Optimizer
        if not any(isinstance(thing, optimizer) for thing in gc.get_objects()):
            self._end()

    def _end(self) -> None:
        if self._is_cut:  # the program caught the first wish and went on
            os._exit(0)
        self._write({"cut": True})
        self._is_cut = True
        if self._ends_run:
            from bessemer.training.surroundings import RunStopped

            raise RunStopped
        raise Finished(0)

    def _write(self, event: dict[str, Any]) -> None:
        if self._is_cut:
            return
        if self._file is None or self._pid != os.getpid():  # a fork has a tape of its own
            self._pid = os.getpid()
            self._file = open(self._folder / f"{self._pid}.jsonl", "a", buffering=1, encoding="utf-8")  # noqa: SIM115
            run = _run()
            self._file.write(json.dumps({"rank": None if run is None else run.rank}) + "\n")
        self._file.write(json.dumps(event) + "\n")


def _run() -> Any:
    """Return Bessemer's run of this process, if it is one of its workers."""
    module = sys.modules.get(_RUN_MODULE)
    return getattr(module, "_current", None)


def leaves(loss: Any) -> Iterator[Any]:
    """Yield the parameters that a loss depends on, in the order of its graph."""
    if loss.grad_fn is None:
        yield loss
        return
    waiting, seen = [loss.grad_fn], {loss.grad_fn}
    while waiting:
        node = waiting.pop()
        if type(node).__name__ == "AccumulateGrad":
            yield node.variable
        for following, _ in reversed(node.next_functions):
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)


def _even(torch: Any, note: Callable[[str], None]) -> None:
    """Switch off what depends on how a batch is divided: masks of dropout, statistics of a batch."""
    functional = torch.nn.functional
    for name in _DROPOUTS:
        if hasattr(functional, name):
            setattr(functional, name, _identity(getattr(functional, name), note))
    torch.dropout = _identity(torch.dropout, note)

    attention = functional.scaled_dot_product_attention

    def attention_without_dropout(
        query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, *args: Any, **kw: Any
    ) -> Any:
        if dropout_p:
            note("dropout")
        return attention(query, key, value, attn_mask, 0.0, *args, **kw)

    functional.scaled_dot_product_attention = attention_without_dropout

    recurrent = torch.nn.RNNBase.__init__

    def without_dropout(self: Any, *args: Any, **kwargs: Any) -> None:
        recurrent(self, *args, **kwargs)
        if self.dropout:
            note("dropout")
            self.dropout = 0.0

    torch.nn.RNNBase.__init__ = without_dropout

    normalized = functional.batch_norm

    def with_kept_statistics(
        input: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None,
        training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
    ) -> Any:  # fmt: skip
        if training:
            note("batch statistics")
        ours = training and running_mean is None
        return normalized(input, running_mean, running_var, weight, bias, ours, momentum, eps)

    functional.batch_norm = with_kept_statistics


def _identity(dropout: Callable[..., Any], note: Callable[[str], None]) -> Callable[..., Any]:
    @functools.wraps(dropout)
    def identity(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
        if training and p:
            note("dropout")
        return input

    return identity
