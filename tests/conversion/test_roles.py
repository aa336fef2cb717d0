"""The roles that the analysis finds, scored on programs that were labelled by reading."""

from __future__ import annotations

from pathlib import Path

import pytest

from conversion.role_scores import labels, outcomes, programs, score, table

MIN_PRECISION = 0.90
MIN_RECALL = 0.97


@pytest.mark.parametrize("held_out", [None, False, True], ids=["all", "tuned on", "held out"])
def test_roles_are_found_and_right(held_out: bool | None) -> None:
    found = outcomes(programs(held_out))
    total = score(found)
    assert total.precision >= MIN_PRECISION, table(found)
    assert total.recall >= MIN_RECALL, table(found)


def test_there_are_enough_programs_and_a_third_is_held_out() -> None:
    assert len(programs()) >= 25
    assert len(programs(held_out=True)) * 3 >= len(programs())


@pytest.mark.parametrize("folder", programs(), ids=lambda x: x.name)
def test_labels_name_what_is_in_the_program(folder: Path) -> None:
    for file, names in labels(folder).items():
        if isinstance(names, dict):
            text = (folder / file).read_text(encoding="utf-8")
            missing = [x for x in names if x.removeprefix("self.").rpartition(".")[2] not in text]
            assert not missing
