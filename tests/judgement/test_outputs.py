"""What a model returns is read by shapes and types, and what cannot be read says why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from bessemer.judgement.outputs import UnseenError, input_of, output_of, read, target_of

N = 4
LABELS = torch.tensor([0, 1, 2, 1])
PICTURES = torch.rand(N, 1, 8, 8)


@pytest.mark.parametrize(
    ("output", "batch", "kind"),
    [
        (torch.rand(N, 3), [PICTURES, LABELS], "classification"),
        (torch.rand(N, 3), [PICTURES, LABELS[:, None]], "classification"),
        (torch.rand(N, 3), {"image": PICTURES, "label": LABELS}, "classification"),
        (torch.rand(N), [PICTURES, torch.rand(N)], "values"),
        (torch.rand(N, 1), [PICTURES, torch.rand(N)], "values"),
        (torch.rand(N, 1), [PICTURES, LABELS], "values"),
        (torch.rand(N, 2), [PICTURES, torch.rand(N, 2)], "values"),
        (torch.rand(N, 3, 8, 8), [PICTURES, torch.zeros(N, 8, 8, dtype=torch.int64)], "segmentation"),
        (torch.rand(N, 3, 8, 8), [PICTURES, torch.zeros(N, 1, 8, 8, dtype=torch.int64)], "segmentation"),
        (torch.rand(N, 5, 9), [torch.zeros(N, 5), torch.zeros(N, 5, dtype=torch.int64)], "language"),
        (torch.rand(N, 9, 5), [torch.zeros(N, 5), torch.zeros(N, 5, dtype=torch.int64)], "language"),
        (torch.rand(N * 5, 9), [torch.zeros(N, 5), torch.zeros(N, 5, dtype=torch.int64)], "language"),
        (torch.rand(N, 1, 8, 8), [PICTURES, LABELS], "generation"),
        (torch.rand(N, 64), [PICTURES, LABELS], "generation"),
        (torch.rand(N, 1, 8, 8), PICTURES, "generation"),
        (torch.rand(N, 3, 8, 8), [PICTURES, torch.rand(N, 3, 8, 8)], "generation"),
    ],
)
def test_a_task_is_told_by_shapes_and_types(output: torch.Tensor, batch: Any, kind: str) -> None:
    reading = read(output, batch, N)
    assert reading.kind == kind
    rows = reading.rows()
    assert all(len(values) == N for values in rows.values())
    assert rows["loss"].dtype == np.float64


@pytest.mark.parametrize(
    ("returned", "batch", "reason"),
    [
        (torch.rand(3, 3), [PICTURES, LABELS], "first dimension is not the batch's"),
        (torch.rand(7, N, 3), [PICTURES, LABELS], "first dimension is not the batch's"),
        (torch.rand(N, 3), PICTURES, "the batch has no target"),
        (torch.rand(N, 3), [PICTURES, torch.rand(N, 5)], "cannot be read"),
        ("text", [PICTURES, LABELS], "returns a str without a tensor"),
        ({"name": "x"}, [PICTURES, LABELS], "returns a dict without a tensor"),
    ],
)
def test_what_cannot_be_read_says_why(returned: Any, batch: Any, reason: str) -> None:
    with pytest.raises(UnseenError, match=reason):
        read(returned, batch, N)


def test_a_label_that_is_no_class_is_named() -> None:
    with pytest.raises(UnseenError, match="a target is 9, and the model returns 3 classes"):
        read(torch.rand(N, 3), [PICTURES, torch.tensor([0, 1, 9, 1])], N).rows()


def test_a_task_that_is_asked_for_and_does_not_fit_is_refused() -> None:
    with pytest.raises(UnseenError, match="cannot be read as segmentation"):
        read(torch.rand(N, 3), [PICTURES, LABELS], N, "segmentation")


def test_the_first_tensor_of_a_tuple_is_the_prediction() -> None:
    logits, loss = torch.rand(N, 3), torch.tensor(1.0)
    assert output_of((logits, loss)) is logits
    assert output_of((loss, logits)) is logits
    assert output_of({"loss": loss, "logits": logits}) is logits


def test_input_and_target_of_a_batch() -> None:
    assert target_of([PICTURES, LABELS]) is LABELS
    assert input_of([PICTURES, LABELS]) is PICTURES
    assert target_of({"x": PICTURES, "labels": LABELS}) is LABELS
    assert input_of({"labels": LABELS, "x": PICTURES}) is PICTURES
    assert target_of([PICTURES]) is None
    assert input_of([PICTURES]) is PICTURES
    assert target_of(PICTURES) is None


def test_labels_that_are_the_input_are_those_of_the_next_position() -> None:
    words = torch.tensor([[1, 2, 3], [3, 2, 1]])
    reading = read(torch.rand(2, 3, 5), {"input_ids": words, "labels": words}, 2)
    assert reading.target.tolist() == [[2, 3], [2, 1]]
    assert reading.output.shape == (2, 2, 5)
