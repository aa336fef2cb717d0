"""What a checkpoint holds, and how a session takes it back.

Most of it is the same on every worker and is the main worker's. What is not, every worker adds: its
random generators, its part of sums that are not complete, buffers such as running means. With
another number of workers these parts are joined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.optim import Optimizer

from bessemer.data.iteration import LoaderPass
from bessemer.errors import CheckpointError, TrainingError
from bessemer.training.checkpoints import FORMAT, State
from bessemer.training.hyperparameters import put_in
from bessemer.training.recovery import generator_states, restore_generators
from bessemer.training.replay import Frame, Replay, copied, from_plain, to_plain
from bessemer.training.values import combined
from bessemer.utils.bits import bytes_of

if TYPE_CHECKING:
    from bessemer.training.session import Session


def snapshot(session: Session, entered: LoaderPass[Any] | None) -> State:
    """Return the state of a run; every worker comes here at the same step.

    Args:
        session: of this worker.
        entered: the loop over a loader that it is taken in, or None between turns.

    Raises:
        TrainingError: the workers' parameters are not equal.
    """
    passes = session.passes.state_dict(session.loaders)
    own = {
        "generators": generator_states(),
        "values": {number: values.state_dict() for number, values in session.values.items()},
        "buffers": _buffers(session) if session.passes.any and session.group.size > 1 else {},
        "checksums": _checksums(session) if session.group.size > 1 else [],
    }
    workers = session.group.gather_objects(own)
    _check_equal([worker.pop("checksums") for worker in workers], session.hooks.step)
    return {
        "format": FORMAT,
        "step": session.hooks.step,
        "world_size": session.group.size,
        "frames": to_plain(session.replay.frames),
        "active": None if entered is None else entered.loader.number,
        "passes": passes,
        "created": dict(session.created.counts),
        "tracked": {name: value.state_dict() for name, value in session.all_tracked().items()},
        "gradients": _gradients(session),
        "loaders": {
            number: {**loader.state_dict(), "stepped": number in session.passes.stepped}
            for number, loader in session.loaders.items()
        },
        "workers": workers,
        "data": session.known_data.fingerprints(session.loaders),
        "meter": session.meter.state_dict(),
        "metrics": dict(session.last_metrics),
        "num_judged": session.num_judged,
        "options": session.tracked.options,
    }


def restore(session: Session, state: State, entered: LoaderPass[Any] | None) -> None:
    """Overwrite a session with a state.

    Args:
        session: of this worker.
        state: what `snapshot` gave on the main worker.
        entered: the loop over a loader that it was taken in, or None between turns.

    Raises:
        CheckpointError: the program tracks something else than when the state was taken.
    """
    if session.given.check_data:
        _check_data(state["data"], session.known_data.fingerprints(session.loaders))
    _restore_tracked(session, state)
    if session.given.explores:
        put_in(session.tracked, state["options"], session.tracked.options)
    workers, group = state["workers"], session.group
    same_workers = state["world_size"] == group.size
    own = workers[group.rank] if same_workers else workers[0]
    _restore_gradients(session, state["gradients"])
    session.created.counts = dict(state["created"])
    for number, loader in session.loaders.items():
        if number in state["loaders"]:
            loader.load_state_dict(state["loaders"][number])
            if state["loaders"][number]["stepped"]:
                session.passes.stepped.add(number)
    values = own["values"] if same_workers else _joined_values(state)
    for number, carried in session.values.items():
        if number in values:
            carried.load_state_dict(copied(values[number]))
    session.hooks.step = state["step"]
    session.last_metrics = dict(state["metrics"])
    session.num_judged = state["num_judged"]
    session.meter.load_state_dict(state["meter"])
    session.passes.load_state_dict(state["passes"], session.loaders, entered, same_workers)
    for number, buffers in own["buffers"].items():
        session.models[number].load_state_dict(buffers, strict=False)
    restore_generators(own["generators"])
    if not same_workers and session.passes.sharded:
        session.passes.fork_generators()


def replay_of(state: State | None, mode: str) -> Replay:
    """Return how a session comes to where a state was taken; in evaluation, to the turn it is of."""
    if state is None:
        return Replay(None, None)
    frames = from_plain(state["frames"])
    if mode != "evaluate":
        return Replay(frames, state["active"])
    for frame in frames:
        frame.done = [done for done in frame.done if done.kind == "loop"]
    if len(frames) == 1 and frames[0].done and frames[0].done[-1].kind == "loop":
        last = frames[0].done.pop()
        frames.append(Frame(last.number, last.turns, last.after))
    return Replay(frames, None)


def _restore_tracked(session: Session, state: State) -> None:
    tracked = session.all_tracked()
    if set(tracked) != set(state["tracked"]):
        raise CheckpointError(
            f"the program tracks {sorted(tracked)}",
            expected=f"what the checkpoint has: {sorted(state['tracked'])}",
            todo="resume with the code that took the checkpoint, or start a new run",
        )
    for name, value in tracked.items():
        if isinstance(value, Optimizer) and state["step"]:
            # A scheduler warns about an optimizer that it has not seen stepping; this one has.
            value._opt_called = True  # type: ignore[attr-defined]
        try:
            value.load_state_dict(state["tracked"][name])
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"{name} does not take the state that its checkpoint has: {error}",
                expected="an object of the same shape as when the checkpoint was taken",
                todo="resume with the code and settings that took it, or start a new run",
            ) from error


def _check_data(saved: dict[int, str], now: dict[int, str]) -> None:
    for number, fingerprint in saved.items():
        if now.get(number, fingerprint) != fingerprint:
            raise CheckpointError(
                f"the data of loader {number} have changed since the checkpoint: fingerprint "
                f"{fingerprint} -> {now[number]}",
                expected="the data that made the checkpoint: class, length, 64 samples",
                todo="put them back, start a new run, or go on with what there is now: --allow-drift",
            )


# Gradients by model and parameter: research code may go on adding to them

_Gradients = dict[int, dict[int, torch.Tensor]]


def _gradients(session: Session) -> _Gradients:
    return {
        number: {
            index: parameter.grad.detach()
            for index, parameter in enumerate(model.parameters())
            if parameter.grad is not None
        }
        for number, model in enumerate(session.models)
    }


def _restore_gradients(session: Session, gradients: _Gradients) -> None:
    for number, model in enumerate(session.models):
        for index, parameter in enumerate(model.parameters()):
            saved = gradients.get(number, {}).get(index)
            parameter.grad = None if saved is None else saved.to(parameter.device, copy=True)


# Parts of workers


def _buffers(session: Session) -> dict[int, dict[str, torch.Tensor]]:
    return {
        number: {
            name: buffer.detach().cpu()
            for name, buffer in model.named_buffers()
            if name in (saved := model.state_dict()) and saved[name].data_ptr() == buffer.data_ptr()
        }
        for number, model in enumerate(session.models)
    }


def _joined_values(state: State) -> dict[int, Any]:
    """Return carried values for another number of workers: sums in the middle of a loop are joined."""
    workers = state["workers"]
    values: dict[int, Any] = dict(workers[0]["values"])
    for entry in state["passes"]:
        for number, begun in entry.get("totals", {}).items():
            values[number] = {**values[number], **combined(begun, [w["values"][number] for w in workers])}
    return values


def _checksums(session: Session) -> list[int]:
    """Return a number a model that differs where any bit of its parameters does (almost surely)."""
    return [
        sum((place + 1) * _checksum(parameter) for place, parameter in enumerate(model.parameters()))
        for model in session.models
    ]


def _checksum(parameter: torch.Tensor) -> int:
    plain = bytes_of(parameter.contiguous())
    if plain.storage_offset() % 8:  # a part of a larger tensor
        plain = plain.clone()
    # Eight bytes at a time: summed as small integers, they take thirty times as long.
    whole = plain.numel() // 8 * 8
    words, rest = plain[:whole].view(torch.int64), plain[whole:]
    return int(words.sum()) + int(rest.sum())


def _check_equal(checksums: list[list[int]], step: int) -> None:
    for rank, sums in enumerate(checksums):
        for number, (own, main) in enumerate(zip(sums, checksums[0], strict=True)):
            if own != main:
                raise TrainingError(
                    f"at step {step} the parameters of model {number} on worker {rank} are not those "
                    "of the main worker",
                    expected="equal parameters on all workers after every step",
                    todo="look for updates that depend on run.rank or on a worker's own samples, "
                    "such as writes to param.data",
                )
