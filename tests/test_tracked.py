"""What a program tracks: every object once, none lost to another of the same name."""

from __future__ import annotations

import torch

from bessemer.training.tracked import Tracked, loose_parameters
from bessemer.training.values import Tensors


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


def test_parameters_that_only_an_optimizer_holds_are_kept_once_by_its_name() -> None:
    known, hidden = torch.nn.Linear(1, 1), torch.nn.Linear(2, 1)
    temperature = torch.ones((), requires_grad=True)
    first = torch.optim.SGD([*known.parameters(), temperature], lr=0.1)
    second = torch.optim.SGD([*known.parameters(), *hidden.parameters()], lr=0.1)
    third = torch.optim.SGD(hidden.parameters(), lr=0.1)
    chosen = {"known": known, "temperature": Tensors(temperature)}
    loose = loose_parameters({**chosen, "first": first, "second": second, "third": third})
    assert loose.keys() == {"second.parameters"}
    assert [x.shape for x in loose["second.parameters"].tensors().values()] == [(1, 2), (1,)]
