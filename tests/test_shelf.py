"""What several runs read is in the object store once, and not for ever."""

from __future__ import annotations

from typing import Any

import pytest
import ray

from bessemer.data.shipping import Packed
from bessemer.training.shelf import Kept, Shelf


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Packed]:
    """What goes to the object store; a reference is its place in this list."""
    found: list[Packed] = []

    def put(packed: Packed) -> int:
        found.append(packed)
        return len(found) - 1

    monkeypatch.setattr(ray, "put", put)
    return found


class Direct:
    """Stands for a handle of an actor: calls the object at once."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._kept, name)
        return type("Method", (), {"remote": staticmethod(method)})


def packed(payload: bytes, folder: str = "/here") -> Packed:
    return Packed(("/path",), payload, folder)


def test_a_data_set_that_two_trials_send_is_kept_once(
    sent: list[Packed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "get", lambda value: value)
    made = Shelf(Direct(Kept()))
    first = made.reference(packed(b"rows"))
    assert made.reference(packed(b"rows")) == first
    assert made.reference(packed(b"other rows")) != first
    # The same bytes mean other files, where relative paths are meant from elsewhere.
    assert made.reference(packed(b"rows", "/there")) != first
    assert len(sent) == 3


def test_the_data_sets_that_were_asked_for_last_are_kept(sent: list[Packed]) -> None:
    kept = Kept()
    for name in "abcd":
        kept.keep(name, packed(name.encode()))
    assert kept.find("a") == [0]
    kept.keep("e", packed(b"e"))
    assert kept.find("b") == []
    assert kept.find("a") == [0]
    assert len(sent) == 5
