"""From what a model returned for a batch to rows of the table of predictions. Pure.

Letters: N samples, C classes, T positions, K outputs. What is large (a distribution for each word or
pixel) is summed up for each sample here, in the worker; all sums are of integers or float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

Kind = Literal["classification", "values", "segmentation", "language", "generation"]
Rows = dict[str, NDArray[Any]]

_TARGET_KEYS = ("target", "targets", "label", "labels", "y")
_OUTPUT_KEYS = ("logits", "scores", "out", "output", "outputs", "prediction", "predictions", "pred")
_IGNORED = -100  # torch's own mark of positions that a loss leaves out
# With so many outputs as there are inputs, a model gives its input back rather than classes.
_LEAST_RECONSTRUCTED = 64


class UnseenError(Exception):
    """Predictions could not be made out.

    Args:
        reason: why, to be read after "predictions could not be observed:".
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def target_of(batch: Any) -> torch.Tensor | None:
    """Return what a batch says should come out: its last part, or what stands under a usual key."""
    if isinstance(batch, Mapping):
        found = next((batch[key] for key in _TARGET_KEYS if key in batch), None)
    elif isinstance(batch, Sequence) and not isinstance(batch, str) and len(batch) > 1:
        found = batch[-1]
    else:
        found = None
    return found if isinstance(found, torch.Tensor) else None


def input_of(batch: Any) -> torch.Tensor | None:
    """Return the first tensor of a batch that is not its target."""
    if isinstance(batch, torch.Tensor):
        return batch
    parts: Sequence[Any] = []
    if isinstance(batch, Mapping):
        parts = [value for key, value in batch.items() if key not in _TARGET_KEYS]
    elif isinstance(batch, Sequence) and not isinstance(batch, str):
        parts = batch[:-1] if len(batch) > 1 else batch
    return next((part for part in parts if isinstance(part, torch.Tensor)), None)


def output_of(returned: Any) -> torch.Tensor:
    """Return the prediction in what a model returned: the tensor, its first one, or that of a usual key.

    Raises:
        UnseenError: there is none.
    """
    if isinstance(returned, torch.Tensor):
        return returned
    if isinstance(returned, Mapping):
        values = [returned[key] for key in _OUTPUT_KEYS if key in returned] or list(returned.values())
    elif isinstance(returned, Sequence) and not isinstance(returned, str):
        values = list(returned)
    else:
        values = [getattr(returned, key) for key in _OUTPUT_KEYS if hasattr(returned, key)]
    found = next((value for value in values if isinstance(value, torch.Tensor) and value.ndim), None)
    if found is None:
        raise UnseenError(f"the model returns a {type(returned).__name__} without a tensor that has samples")
    return found


@dataclass(frozen=True)
class Reading:
    """A batch read as one kind of task.

    Attributes:
        kind: of the table's rows.
        output: float [N, ...] as the kind has it: [N, C], [N, K], [N, C, ...] or [N, T, C].
        target: [N], [N, K], [N, ...] or [N, T].
    """

    kind: Kind
    output: torch.Tensor
    target: torch.Tensor

    def rows(self) -> Rows:
        """Return a row for each sample, on the CPU."""
        with torch.no_grad():
            return _ROWS[self.kind](self.output.detach().cpu(), self.target.detach().cpu())


def read(returned: Any, batch: Any, num_samples: int, task: str = "auto") -> Reading:
    """Find out what a model's output and a batch's target are to each other.

    Args:
        returned: by the model.
        batch: of the loader; its target is on any device.
        num_samples: in this worker's part of the batch (count).
        task: of the settings; "auto" to go by shapes and types.

    Raises:
        UnseenError: they do not fit together, or not as `task` wants it.
    """
    output, target, given = output_of(returned), target_of(batch), input_of(batch)
    if not output.is_floating_point():
        output = output.double()
    if target is not None and _is_shifted_inside(batch, target, output):
        output, target = output[:, :-1], target[:, 1:]
    flat_words = target is not None and target.ndim == 2 and output.ndim == 2
    if flat_words and target is not None and len(output) == target.numel() != num_samples:
        output = output.reshape(*target.shape, -1)
    if len(output) != num_samples or (target is not None and (not target.ndim or len(target) != num_samples)):
        held = f" and a target {shape(target)}" if target is not None else ""
        raise UnseenError(
            f"the model returns {shape(output)}{held} for a batch of {num_samples} samples: "
            "the first dimension is not the batch's"
        )
    found = _read(output, target, given)
    wanted = {"regression": "values"}.get(task, task)
    if found is None or (task != "auto" and found.kind != wanted):
        as_task = f" as {task}" if task != "auto" else ""
        held = f"the target is {shape(target)}" if target is not None else "the batch has no target"
        raise UnseenError(f"the model returns {shape(output)} and {held}: these cannot be read{as_task}")
    return found


def shape(tensor: torch.Tensor | None) -> str:
    """Return shape and dtype for reading."""
    return (
        f"{list(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}" if tensor is not None else "none"
    )


def _read(output: torch.Tensor, target: torch.Tensor | None, given: torch.Tensor | None) -> Reading | None:
    if given is not None and given.is_floating_point() and _gives_back(output, given, target):
        return Reading("generation", output, given.reshape(output.shape))
    if target is None:
        return None
    per_sample = output.ndim == 1 or (output.ndim == 2 and output.shape[1] == 1)
    if per_sample and target.reshape(len(target), -1).shape[1] == 1:
        return Reading("values", output.reshape(-1, 1), target.reshape(-1, 1))
    if target.is_floating_point():
        if output.shape != target.shape:
            return None
        return Reading("values" if output.ndim == 2 else "generation", output, target)
    if target.ndim == 2 and target.shape[1] == 1 and output.ndim == 2:
        target = target[:, 0]
    if output.ndim == 2 and target.ndim == 1:
        return Reading("classification", output, target)
    if output.ndim == 3 and target.ndim == 2 and output.shape[:2] == target.shape:
        return Reading("language", output, target)
    if output.ndim == 3 and target.ndim == 2 and (output.shape[0], output.shape[2]) == target.shape:
        return Reading("language", output.transpose(1, 2), target)
    if output.ndim >= 4 and target.shape == (output.shape[0], 1, *output.shape[2:]):
        target = target[:, 0]
    if output.ndim >= 4 and target.shape == (output.shape[0], *output.shape[2:]):
        return Reading("segmentation", output, target)
    return None


def _gives_back(output: torch.Tensor, given: torch.Tensor, target: torch.Tensor | None) -> bool:
    """Whether a model reconstructs its input; a target of its own shape goes before that."""
    if target is not None and target.is_floating_point() and target.shape == output.shape:
        return False
    size = output[0].numel()
    return len(given) == len(output) and given[0].numel() == size >= _LEAST_RECONSTRUCTED


def _is_shifted_inside(batch: Any, target: torch.Tensor, output: torch.Tensor) -> bool:
    """Whether labels are the input itself, so that position t of the output is for position t + 1."""
    words = batch.get("input_ids") if isinstance(batch, Mapping) else None
    return (
        isinstance(words, torch.Tensor)
        and words.shape == target.shape
        and output.ndim == 3
        and bool(((target == words) | (target == _IGNORED)).all())
    )


def _classification_rows(output_nc: torch.Tensor, target_n: torch.Tensor) -> Rows:
    num_classes = output_nc.shape[1]
    outside = (target_n < 0) | (target_n >= num_classes)
    if bool(outside.any()):
        raise UnseenError(
            f"a target is {int(target_n[outside][0])}, and the model returns {num_classes} classes: "
            "the last part of the batch is no label, or there is an unknown class"
        )
    scores = output_nc if output_nc.dtype == torch.float64 else output_nc.float()
    loss = functional.nll_loss(scores.double().log_softmax(1), target_n.long(), reduction="none")
    return {"scores": scores.numpy(), "target": target_n.long().numpy(), "loss": loss.numpy()}


def _value_rows(output_nk: torch.Tensor, target_nk: torch.Tensor) -> Rows:
    predicted, target = output_nk.double(), target_nk.double()
    loss = (predicted - target).square().mean(1)
    return {"prediction": predicted.numpy(), "target": target.numpy(), "loss": loss.numpy()}


def _segmentation_rows(output: torch.Tensor, target: torch.Tensor) -> Rows:
    if output.shape[1] == 1:  # one score for "it is there": made two classes
        output = torch.cat([torch.zeros_like(output), output], 1)
    num_classes = output.shape[1]
    target = target.long().flatten(1)
    scores = output.flatten(2)
    counted = (target >= 0) & (target < num_classes)
    loss = functional.nll_loss(
        scores.double().log_softmax(1),
        target.where(counted, _IGNORED),
        reduction="none",
        ignore_index=_IGNORED,
    )
    predicted, num = scores.argmax(1), counted.sum(1)

    def count(labels: torch.Tensor, mask: torch.Tensor) -> NDArray[np.int64]:
        counts = torch.zeros(len(labels), num_classes, dtype=torch.int64)
        return counts.scatter_add_(1, labels.where(mask, 0), mask.long()).numpy()

    return {
        "num_right": count(target, counted & (predicted == target)),
        "num_predicted": count(predicted, counted),
        "num_actual": count(target, counted),
        "nll_sum": loss.sum(1).numpy(),
        "loss": (loss.sum(1) / num.clamp(min=1)).numpy(),
    }


def _language_rows(output_ntc: torch.Tensor, target_nt: torch.Tensor) -> Rows:
    num_words = output_ntc.shape[2]
    counted = (target_nt >= 0) & (target_nt < num_words)
    safe = target_nt.long().where(counted, 0)
    nll_sum = torch.zeros(len(output_ntc), dtype=torch.float64)
    for number, sample in enumerate(output_ntc):  # one at a time: all of them in float64 may not fit
        logged = sample.double().log_softmax(1).gather(1, safe[number, :, None])[:, 0]
        nll_sum[number] = -logged[counted[number]].sum()
    right = (output_ntc.argmax(2) == target_nt) & counted
    num = counted.sum(1)
    return {
        "num_tokens": num.numpy(),
        "num_right": right.sum(1).numpy(),
        "nll_sum": nll_sum.numpy(),
        "loss": (nll_sum / num.clamp(min=1)).numpy(),
    }


def _generation_rows(output: torch.Tensor, target: torch.Tensor) -> Rows:
    difference = (output.double() - target.double()).flatten(1)
    return {"absolute": difference.abs().mean(1).numpy(), "loss": difference.square().mean(1).numpy()}


_ROWS: dict[Kind, Callable[[torch.Tensor, torch.Tensor], Rows]] = {
    "classification": _classification_rows,
    "values": _value_rows,
    "segmentation": _segmentation_rows,
    "language": _language_rows,
    "generation": _generation_rows,
}
