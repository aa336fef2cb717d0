"""A few samples of a model's first input are kept as an example, where NumPy has an array for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bessemer.models.architectures import on_first_input


def kept_of(*batches: torch.Tensor) -> list[np.ndarray[Any, Any]]:
    kept: list[np.ndarray[Any, Any]] = []
    model = nn.Identity()
    on_first_input(model, kept.append)
    for batch in batches:
        model(batch)
    return kept


def test_four_samples_of_the_first_input_are_kept() -> None:
    (example,) = kept_of(torch.arange(12.0).view(6, 2), torch.zeros(6, 2))
    np.testing.assert_array_equal(example, np.arange(8, dtype=np.float32).reshape(4, 2))


@pytest.mark.parametrize(
    "batch",
    [torch.zeros(6, 2, dtype=torch.bfloat16), torch.eye(6).to_sparse(), torch.zeros(())],
    ids=["bfloat16", "sparse", "a number"],
)
def test_an_input_that_numpy_has_no_array_for_is_no_example_and_no_error(batch: torch.Tensor) -> None:
    assert kept_of(batch) == []
