"""A run is gone on with only on what it was made of, unless it is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field

from bessemer.config.settings import Settings
from bessemer.errors import CheckpointError
from bessemer.training.identity import check_same, identity_of


class Own(Settings):
    lr: float = Field(0.1, description="Step size.")


def identity(code: Path, lock: str = "aa", **values: object) -> dict[str, str]:
    return identity_of(Own.model_validate(values), [code], {"bessemer.lock_sha256": lock})


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "model.py").write_text("x = 1\n")
    (tmp_path / "net" / "notes.txt").write_text("a note")
    return tmp_path / "net"


def refusal(saved: dict[str, str], now: dict[str, str]) -> str:
    with pytest.raises(CheckpointError) as caught:
        check_same(saved, now, "step-0000000007")
    return str(caught.value)


def test_what_changes_no_number_may_change(code: Path) -> None:
    saved = identity(code)
    (code / "notes.txt").write_text("another note")
    now = identity(
        code,
        scaling={"num_workers": 4, "device": "cpu"},
        checkpoint={"every_steps": 3, "storage_path": "/elsewhere"},
        data={"source": "inline", "block_steps": 2},
        tracking={"uri": "sqlite:///other.db"},
    )
    check_same(saved, now, "step-0000000007")


def test_a_changed_setting_is_named_with_both_values(code: Path) -> None:
    text = refusal(identity(code), identity(code, lr=0.5))
    assert "setting lr: 0.1 -> 0.5" in text
    assert "--allow-drift" in text


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [("data", "seed", 3), ("data", "order", "research"), ("scaling", "loss_reduction", "sum")],
)
def test_settings_of_bessemer_that_change_the_numbers_count_too(
    code: Path, section: str, name: str, value: object
) -> None:
    changed = identity_of(
        Own.model_validate({section: {name: value}}), [code], {"bessemer.lock_sha256": "aa"}
    )
    assert f"setting {section}.{name}" in refusal(identity(code), changed)


def test_changed_new_and_removed_code_is_named_by_file(code: Path) -> None:
    saved = identity(code)
    (code / "model.py").write_text("x = 2\n")
    (code / "more.py").write_text("y = 1\n")
    text = refusal(saved, identity(code))
    assert "code net/model.py" in text
    assert "code net/more.py: was not there ->" in text
    (code / "model.py").unlink()
    assert "code net/model.py" in refusal(saved, identity(code))
    assert "is gone" in refusal(saved, identity(code))


def test_another_lock_file_is_named(code: Path) -> None:
    assert "lock file: aa -> bb" in refusal(identity(code), identity(code, lock="bb"))


def test_a_long_list_of_differences_is_cut_and_counted() -> None:
    saved = {f"code {number}": "a" for number in range(20)}
    assert "; and 12 more" in refusal(saved, {})
