"""What a program tracks: every object once, none lost to another of the same name."""

from __future__ import annotations

import torch

from bessemer.training.tracked import Tracked


def test_a_second_object_of_a_name_is_tracked_beside_the_first() -> None:
    first, second = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    tracked = Tracked()
    for model in (first, second, first, second):
        tracked.add("model", model)
    assert dict(tracked) == {"model": first, "model_2": second}


def test_a_program_without_an_optimizer_is_told_from_one_with() -> None:
    tracked = Tracked()
    model = torch.nn.Linear(1, 1)
    tracked.add("model", model)
    assert not tracked.has_optimizer
    tracked.add("optimizer", torch.optim.SGD(model.parameters(), lr=0.1))
    assert tracked.has_optimizer
