"""The process of a rehearsal: trains a project for a few steps, here, and writes down what it saw.

    python -P -m bessemer.proof.few_steps PROJECT STEPS FILE

One worker without Ray, MLflow and checkpoints. What is watched is watched in torch, so any program can be:
calls of models while they train, what `backward()` is called on, steps of optimizers, and the parameters
that the losses depend on. The program is ended after STEPS steps of one optimizer, or, where there is no
optimizer, after STEPS losses.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils._pytree import tree_flatten

from bessemer.config.loading import load_settings
from bessemer.config.project import read_project, resolve_function
from bessemer.data.generators import seed_generators
from bessemer.errors import SettingsError
from bessemer.proof.tape import leaves
from bessemer.training.run import Run, set_current_run
from bessemer.training.session import Session, closing
from bessemer.training.surroundings import RunStopped, Surroundings
from bessemer.utils.collectives import Group

_ARGUMENTS = ["--scaling.num-workers", "1", "--scaling.device", "cpu", "--data.source", "inline"]
# What is raised for data that are not there, besides FileNotFoundError and its like.
_NO_DATA = frozenset({"URLError", "HTTPError", "OfflineModeIsEnabled", "LocalEntryNotFoundError"})
_NO_DATA_TEXTS = ("dataset not found", "download=true")


class Watch:
    """Keeps what a program computes in its first steps.

    Args:
        steps: after how many steps of one optimizer the program is ended (count).
    """

    def __init__(self, steps: int) -> None:
        self._wanted = steps
        self._depth = 0
        self._first: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._steps: dict[int, int] = {}
        self._inside = False
        self.calls: dict[str, dict[str, Any]] = {}
        self.losses: list[float] = []

    def hook(self) -> None:
        """Begin to watch this process."""
        register_module_forward_pre_hook(self._called)
        register_module_forward_hook(self._returned, with_kwargs=True, always_call=True)
        register_optimizer_step_post_hook(self._stepped)
        # `Tensor.backward` calls this too, by its name.
        torch.autograd.backward = self._watched(torch.autograd.backward)

    @property
    def num_steps(self) -> int:
        """Steps of the optimizer that took most (count)."""
        return max(self._steps.values(), default=0)

    def found(self) -> dict[str, Any]:
        """Return what was seen, as JSON values."""
        pairs = self._first.values()
        changed = sum(not torch.equal(now.detach(), before) for now, before in pairs)
        return {
            "steps": self.num_steps,
            "losses": self.losses,
            "num_parameters": len(pairs),
            "num_changed": changed,
            "calls": list(self.calls.values()),
        }

    def _called(self, _module: torch.nn.Module, _inputs: Any) -> None:
        self._depth += 1

    def _returned(self, module: torch.nn.Module, inputs: Any, given: Any, output: Any) -> None:
        self._depth -= 1
        name = type(module).__name__
        has_parameters = next(module.parameters(), None) is not None
        is_trained = torch.is_grad_enabled() and module.training and has_parameters
        if self._depth or not is_trained or name in self.calls:
            return
        outputs = _tensors(output)
        self.calls[name] = {
            "model": name,
            "inputs": [_shown(x) for x in _tensors((inputs, given))],
            "outputs": [_shown(x) for x in outputs],
            "is_finite": all(bool(torch.isfinite(x).all()) for x in outputs if x.is_floating_point()),
        }

    def _watched(self, backward: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(backward)
        def watched(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            if self._inside:  # a checkpointed part, computed again
                return backward(tensors, *args, **kwargs)
            given = [tensors] if isinstance(tensors, torch.Tensor) else list(tensors)
            for tensor in given:
                for leaf in leaves(tensor):
                    self._first.setdefault(id(leaf), (leaf, leaf.detach().clone()))
                if tensor.numel() == 1:
                    self.losses.append(float(tensor.detach()))
            self._inside = True
            try:
                result = backward(tensors if isinstance(tensors, torch.Tensor) else given, *args, **kwargs)
            finally:
                self._inside = False
            # The last update by hand comes after its loss.
            if len(self.losses) > self._wanted and not self._steps and not _optimizers():
                raise RunStopped
            return result

        return watched

    def _stepped(self, optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
        self._steps[id(optimizer)] = self._steps.get(id(optimizer), 0) + 1
        if self.num_steps >= self._wanted:
            raise RunStopped


def missing_data(error: BaseException) -> str:
    """Return what an error says is not there, if data are not there; else an empty text."""
    for cause in _chain(error):
        is_absent = isinstance(cause, FileNotFoundError | NotADirectoryError | ConnectionError)
        named = type(cause).__name__ in _NO_DATA or type(cause).__module__.startswith("requests.")
        said = isinstance(cause, RuntimeError) and any(x in str(cause).lower() for x in _NO_DATA_TEXTS)
        if is_absent or named or said:
            return f"{type(cause).__name__}: {cause}"
    return ""


def rehearse_here(root: Path, steps: int) -> dict[str, Any]:
    """Train a project in this process; return what was seen and what went wrong, as JSON values."""
    watch = Watch(steps)
    missing = error = ""
    try:
        project = read_project(root)
        values = load_settings(project.settings_class(), _ARGUMENTS, os.environ, project.settings_file)
        watch.hook()
        _train(project.entry, root, values.settings)
    except RunStopped:
        pass
    except SettingsError as wrong:
        missing = f"its settings are not complete: {wrong.found}"
    except Exception as wrong:
        missing = missing_data(wrong) if not watch.num_steps else ""
        error = "" if missing else "".join(traceback.format_exception(wrong))
    return {**watch.found(), "missing": missing, "error": error}


def _train(entry: str, root: Path, settings: Any) -> None:
    program = resolve_function(entry, [str(root)])
    seed_generators(settings.data.seed)
    with tempfile.TemporaryDirectory() as folder:
        surroundings = Surroundings(settings, Group(), torch.device("cpu"), output_dir=Path(folder))
        with closing(Session(surroundings)) as session:
            run = Run(session)
            set_current_run(run)
            try:
                program(run, settings)
            finally:
                set_current_run(None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        found = waiting.pop()
        if found is not None and id(found) not in seen:
            seen.add(id(found))
            yield found
            waiting += [found.__context__, found.__cause__]


def _optimizers() -> bool:
    return any(isinstance(x, torch.optim.Optimizer) for x in gc.get_objects())


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [x for x in tree_flatten(tree)[0] if isinstance(x, torch.Tensor)]


def _shown(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"


def main() -> None:
    """Rehearse as the command line says."""
    root, steps, file = sys.argv[1:]
    found = rehearse_here(Path(root), int(steps))
    Path(file).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
