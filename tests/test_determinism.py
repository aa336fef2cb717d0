"""The proof that a data set gives the same sample each time."""

from __future__ import annotations

from typing import Any

import determinism_examples as examples
import pytest
import torch
from torch.utils.data import Dataset

from bessemer.data.datasets import draws
from bessemer.data.prepared.determinism import examine


def name_of(dataset: Dataset[Any]) -> str:
    transform = getattr(dataset, "transform", None)
    return f"{type(dataset).__name__}-{getattr(transform, '__name__', type(transform).__name__)}"


@pytest.mark.parametrize("dataset", examples.SURE, ids=name_of)
def test_samples_that_are_the_same_each_time_are_proved_to_be(dataset: Dataset[Any]) -> None:
    assert examine(dataset).reasons == ()
    assert not draws(dataset, 0)


@pytest.mark.parametrize("dataset", examples.UNSURE, ids=name_of)
def test_samples_that_may_differ_are_not_proved_and_the_place_is_named(dataset: Dataset[Any]) -> None:
    reasons = examine(dataset).reasons
    assert reasons
    assert all("determinism_examples.py:" in reason for reason in reasons), reasons


def test_the_code_that_was_read_decides_on_the_digest() -> None:
    plain, normalised = examples.Plain(), examples.Plain(examples.Normalise(0.5))
    assert examine(plain).code == examine(examples.Plain()).code
    assert examine(plain).code != examine(normalised).code
    # What an object holds is an input, not code.
    assert examine(normalised).code == examine(examples.Plain(examples.Normalise(1.5))).code


def test_a_function_is_read_as_a_data_set_is() -> None:
    assert examine(examples.ViaProperty.twice).reasons == ()
    assert examine(torch.rand).reasons
    assert "uses the module random" in examine(examples.noisy(abs)).reasons[0]
