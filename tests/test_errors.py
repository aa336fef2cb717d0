"""Errors say what was found, what was expected and what to do, also in another process."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import cloudpickle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer import errors
from bessemer.errors import BessemerError, RunStoppedError, UserError, nearest


def tree_of(kind: type[BessemerError]) -> Iterator[type[BessemerError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree_of(child)


KINDS = sorted(set(tree_of(BessemerError)), key=lambda kind: kind.__name__)
USER_MISTAKES = {kind for kind in KINDS if issubclass(kind, UserError)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pickler", [pickle, cloudpickle])
def test_every_error_survives_pickling_with_its_three_parts(kind: type[BessemerError], pickler: Any) -> None:
    error = kind("lr = -1", expected="a positive number", todo="set --lr 0.1")
    copy = pickle.loads(pickler.dumps(error))
    assert type(copy) is kind
    assert (copy.found, copy.expected, copy.todo) == ("lr = -1", "a positive number", "set --lr 0.1")
    assert str(copy) == str(error)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_shows_all_its_parts_and_only_those_it_has(kind: type[BessemerError]) -> None:
    assert str(kind("a")) == "a"
    assert str(kind("a", "b")) == "a\nexpected: b"
    assert str(kind("a", "b", "c")) == "a\nexpected: b\nto do:    c"
    assert str(kind("a", todo="c")) == "a\nto do:    c"


@pytest.mark.parametrize("kind", KINDS)
def test_the_exit_code_tells_the_users_mistakes_from_everything_else(kind: type[BessemerError]) -> None:
    ended_by_sigterm = 143 if kind is RunStoppedError else None
    assert kind("x").exit_code == (ended_by_sigterm or (2 if kind in USER_MISTAKES else 1))


def test_mistakes_of_the_user_are_these_and_no_others() -> None:
    assert {kind.__name__ for kind in USER_MISTAKES} == {
        "ClusterError",
        "DeploymentError",
        "ConversionError",
        "InvalidDataError",
        "NeverLoggedError",
        "NoLoaderError",
        "PlacementError",
        "ProjectError",
        "SettingsError",
        "SourceError",
        "StorageError",
        "TrackingError",
        "UserError",
    }


def test_a_misspelt_name_gets_the_nearest_known_one() -> None:
    assert nearest("learnig_rate", ["epochs", "learning_rate"]) == "did you mean learning_rate?"
    assert nearest("lr", ["EPOCHS", "LR"]) == "did you mean LR?"


def test_a_name_that_resembles_nothing_gets_no_guess() -> None:
    assert nearest("zzz", ["learning_rate", "epochs"]) == ""
    assert nearest("lr", []) == ""


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(min_size=1), min_size=1, max_size=5), st.data())
def test_a_known_name_is_nearest_to_itself(known: list[str], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(known))
    assert nearest(name, known) == f"did you mean {name}?"
