"""Which split a row goes to."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bessemer.data.prepared.splits import assign, hash_fraction

SPLITS = {"train": 0.7, "validation": 0.1, "test": 0.2}
KEYS = st.lists(st.one_of(st.text(), st.integers(), st.binary()), min_size=1, max_size=60)


@given(KEYS, KEYS)
def test_a_row_stays_in_its_split_when_data_grow(old: list[object], new: list[object]) -> None:
    before = assign(old, SPLITS)
    assert (assign([*new, *old], SPLITS)[len(new) :] == before).all()


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=60))
def test_rows_of_one_group_are_of_one_split(groups: list[str]) -> None:
    found = assign(groups, SPLITS)
    assert all(len({found[row] for row, group in enumerate(groups) if group == each}) == 1 for each in groups)


def test_splits_have_about_the_fractions_that_they_should() -> None:
    counts = Counter(assign(list(range(20_000)), SPLITS).tolist())
    for number, fraction in enumerate(SPLITS.values()):
        # Five standard deviations of a binomial.
        assert abs(counts[number] - 20_000 * fraction) < 5 * np.sqrt(20_000 * fraction * (1 - fraction))


@given(st.lists(st.sampled_from("xyz"), min_size=1, max_size=200))
def test_each_class_is_split_in_the_same_fractions_up_to_a_row(classes: list[str]) -> None:
    found = assign(list(range(len(classes))), SPLITS, classes)
    for name in set(classes):
        own = found[[row for row, each in enumerate(classes) if each == name]]
        for number, fraction in enumerate(SPLITS.values()):
            assert abs(int((own == number).sum()) - fraction * len(own)) <= 1.0


def test_groups_stay_whole_when_classes_are_split_alike() -> None:
    groups = [f"patient {number // 4}" for number in range(400)]
    classes = ["ill" if number // 4 % 5 == 0 else "well" for number in range(400)]
    found = assign(groups, SPLITS, classes)
    assert all(len(set(found[start : start + 4].tolist())) == 1 for start in range(0, 400, 4))
    for name in ("ill", "well"):
        own = found[[row for row, each in enumerate(classes) if each == name]]
        assert abs((own == 0).mean() - 0.7) < 0.08


def test_the_hash_is_the_same_for_ever() -> None:
    assert [round(hash_fraction(key), 6) for key in ("a", 1, b"a", 1.5)] == HASHES
    assert hash_fraction(np.int64(1)) == hash_fraction(1)


HASHES = [0.674896, 0.789753, 0.535442, 0.865407]
