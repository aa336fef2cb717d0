"""The bytes of a tensor, whatever its strides."""

from __future__ import annotations

import pytest
import torch

from bessemer.data.changes import signature
from bessemer.utils.bits import bytes_of

ONE_OF_A_COLUMN = torch.arange(12.0).reshape(3, 4)[1:2, 1]


@pytest.mark.parametrize("tensor", [torch.arange(6.0).reshape(2, 3), torch.tensor(5.0), ONE_OF_A_COLUMN])
def test_a_contiguous_tensor_is_its_bytes(tensor: torch.Tensor) -> None:
    assert tensor.is_contiguous()
    assert bytes_of(tensor).numpy().tobytes() == tensor.numpy().tobytes()


def test_one_number_of_a_column_is_looked_at_like_any_other() -> None:
    assert ONE_OF_A_COLUMN.stride() != (1,)
    assert signature(ONE_OF_A_COLUMN) == signature(ONE_OF_A_COLUMN)
