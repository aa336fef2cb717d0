"""What becomes of a file of which the user and conversion made something else: nothing is lost."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.conversion.writing.merging import Kind, Merge, marked_lines, merge, merge_file, merge_lines

LINES = st.lists(st.sampled_from([b"a\n", b"b\n", b"c\n", b"\n"]), max_size=8)
TEXTS = st.builds(lambda lines, end: b"".join(lines) + end, LINES, st.sampled_from([b"", b"last"]))
FILES = st.none() | TEXTS

# What stands in the base, with you, and with conversion; what is written; what that is called.
TABLE = [
    (None, None, b"x", b"x", Kind.NEW),
    (None, b"x", b"x", b"x", Kind.UNCHANGED),
    (b"x", b"x", b"x", b"x", Kind.UNCHANGED),
    (b"x", b"y", b"y", b"y", Kind.UNCHANGED),
    (b"x", b"x", b"y", b"y", Kind.UPDATED),
    (b"x", b"y", b"x", b"y", Kind.KEPT),
    (b"x", b"x", None, None, Kind.REMOVED),
    (b"x", b"y", None, b"y", Kind.LEFT),
    (None, b"y", None, b"y", Kind.LEFT),
    (b"x", None, b"x", None, Kind.DELETED),
    (b"x", None, b"y", b"y", Kind.CONFLICT),
    (b"x", None, None, None, None),
]


@pytest.mark.parametrize(("base", "yours", "converted", "content", "kind"), TABLE)
def test_each_case_has_its_end(
    base: bytes | None, yours: bytes | None, converted: bytes | None, content: bytes | None, kind: Kind | None
) -> None:
    assert merge_file(base, yours, converted) == (content, kind, ())


CASES = {
    "changes in different places": (
        "one\ntwo\nthree\nfour\nfive\n",
        "ONE\ntwo\nthree\nfour\nfive\n",
        "one\ntwo\nthree\nfour\nFIVE\nsix\n",
        "ONE\ntwo\nthree\nfour\nFIVE\nsix\n",
    ),
    "the same change": (
        "one\ntwo\nthree\nfour\n",
        "one\nTWO\nthree\nfour\nfive\n",
        "zero\none\nTWO\nthree\nfour\n",
        "zero\none\nTWO\nthree\nfour\nfive\n",
    ),
    "a line added by you, one deleted by conversion": (
        "one\ntwo\nthree\nfour\n",
        "one\nmore\ntwo\nthree\nfour\n",
        "one\ntwo\nthree\n",
        "one\nmore\ntwo\nthree\n",
    ),
    "one line, changed to this and that": (
        "one\ntwo\nthree\n",
        "one\nmine\nthree\n",
        "one\nother\nthree\n",
        "one\n<<<<<<< yours\nmine\n=======\nother\n>>>>>>> converted\nthree\n",
    ),
    "what both begin and end with alike is outside of the marks": (
        "one\ntwo\n",
        "one\nsame\nmine\nalike\ntwo\n",
        "one\nsame\nother\nalike\ntwo\n",
        "one\nsame\n<<<<<<< yours\nmine\n=======\nother\n>>>>>>> converted\nalike\ntwo\n",
    ),
    "changed by you, deleted by conversion": (
        "one\ntwo\nthree\n",
        "one\nmine\nthree\n",
        "one\nthree\n",
        "one\n<<<<<<< yours\nmine\n=======\n>>>>>>> converted\nthree\n",
    ),
    "neighbouring lines": (
        "one\ntwo\n",
        "ONE\ntwo\n",
        "one\nTWO\n",
        "<<<<<<< yours\nONE\ntwo\n=======\none\nTWO\n>>>>>>> converted\n",
    ),
    "a last line without an end": (
        "one\ntwo\n",
        "one\nmine",
        "one\nother\n",
        "one\n<<<<<<< yours\nmine\n=======\nother\n>>>>>>> converted\n",
    ),
    "written by both, for the first time": (
        "",
        "mine\n",
        "other\n",
        "<<<<<<< yours\nmine\n=======\nother\n>>>>>>> converted\n",
    ),
    "an editor that ends lines in its own way": (
        "one\ntwo\nthree\nfour\n",
        "ONE\r\ntwo\r\nthree\r\nfour\r\n",
        "one\ntwo\nthree\nFOUR\n",
        "ONE\r\ntwo\r\nthree\r\nFOUR\r\n",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_lines_are_merged(case: str) -> None:
    base, yours, converted, expected = (text.encode() for text in CASES[case])
    merged, kind, lines = merge_file(base, yours, converted)
    assert merged == expected
    places = [i for i, line in enumerate(expected.splitlines(), 1) if line == b"<<<<<<< yours"]
    assert list(lines) == places
    assert kind is (Kind.CONFLICT if places else Kind.MERGED)


def test_only_ends_of_lines_were_changed_by_you() -> None:
    assert merge_file(b"a\nb\n", b"a\r\nb\r\n", b"a\nc\n") == (b"a\r\nc\r\n", Kind.UPDATED, ())
    assert merge_file(b"a\nb\n", b"a\r\nb\r\n", b"a\nb\n") == (b"a\r\nb\r\n", Kind.UNCHANGED, ())


@given(FILES, FILES, FILES)
def test_whoever_changed_a_file_alone_has_it_his_way(
    base: bytes | None, yours: bytes | None, converted: bytes | None
) -> None:
    content, kind, lines = merge_file(base, yours, converted)
    if base == yours:
        assert content == converted
        assert not lines
    elif base == converted or yours == converted:
        assert content == yours
        assert not lines
    assert (kind is None) == (yours is None and converted is None)
    assert kind is Kind.CONFLICT or not lines


@given(TEXTS, TEXTS, TEXTS)
def test_no_line_that_somebody_wrote_is_lost(base: bytes, yours: bytes, converted: bytes) -> None:
    merged, lines = merge_lines(base, yours, converted)
    written = Counter(merged.split(b"\n"))
    for side in (yours, converted):
        added = Counter(side.split(b"\n")) - Counter(base.split(b"\n"))
        assert not {x for x in added if x and not written[x]}
    assert merged.count(b"<<<<<<< yours\n") == len(lines)
    assert all(merged.split(b"\n")[line - 1] == b"<<<<<<< yours" for line in lines)


@given(TEXTS, TEXTS, TEXTS)
def test_without_a_conflict_it_does_not_matter_who_changed_what(
    base: bytes, yours: bytes, converted: bytes
) -> None:
    merged, lines = merge_lines(base, yours, converted)
    swapped, same = merge_lines(base, converted, yours)
    assert len(lines) == len(same)
    assert lines or merged == swapped


@given(st.integers(2, 300), st.data())
def test_changes_that_do_not_touch_are_both_made(num_lines: int, data: st.DataObject) -> None:
    base = [f"line {i % 7} of {i // 7}\n".encode() for i in range(num_lines)]
    places = st.lists(st.integers(0, num_lines - 1).map(lambda i: i - i % 2), max_size=9, unique=True)
    changed = data.draw(places)
    owners = data.draw(st.lists(st.booleans(), min_size=len(changed), max_size=len(changed)))
    yours, converted, both = list(base), list(base), list(base)
    for place, is_yours in zip(changed, owners, strict=True):
        for side in (yours if is_yours else converted, both):
            side[place] = f"changed {place}\n".encode()
    merged, lines = merge_lines(b"".join(base), b"".join(yours), b"".join(converted))
    assert (merged, lines) == (b"".join(both), ())


def test_a_text_that_repeats_itself_is_merged_where_it_was_changed() -> None:
    base = [f"line {i % 50}\n".encode() for i in range(600)]
    yours, converted, both = list(base), list(base), list(base)
    for place in (40, 560):
        yours[place] = both[place] = b"yours\n"
    for place in (200, 400):
        converted[place] = both[place] = b"converted\n"
    merged, lines = merge_lines(b"".join(base), b"".join(yours), b"".join(converted))
    assert (merged, lines) == (b"".join(both), ())


def test_a_line_added_to_a_text_that_repeats_itself_stays_where_it_was_added() -> None:
    base = [b"a\n", b"b\n", b"\n"] * 100
    yours, converted = [*base[:30], b"yours\n", *base[30:]], [*base[:240], b"converted\n", *base[240:]]
    merged, lines = merge_lines(b"".join(base), b"".join(yours), b"".join(converted))
    both = [*base[:30], b"yours\n", *base[30:240], b"converted\n", *base[240:]]
    assert (merged, lines) == (b"".join(both), ())


@given(st.dictionaries(st.sampled_from("abc"), TEXTS), st.data())
def test_merging_once_more_changes_nothing(base: dict[str, bytes], data: st.DataObject) -> None:
    sides = st.dictionaries(st.sampled_from("abcd"), TEXTS)
    yours, converted = data.draw(sides), data.draw(sides)
    first = merge(base, yours, converted)
    again = merge(converted, first.files, converted)
    assert again.files == first.files
    assert {x.kind for x in again.changes} <= {Kind.UNCHANGED, Kind.KEPT, Kind.LEFT, Kind.DELETED}


def test_conflicts_are_named_by_file() -> None:
    merged = merge({"a": b"1\n", "b": b"1\n"}, {"a": b"2\n"}, {"a": b"3\n", "b": b"2\n", "c": b"new\n"})
    assert isinstance(merged, Merge)
    assert [(x.file, x.lines) for x in merged.conflicts] == [("a", (1,)), ("b", ())]
    assert merged.files["b"] == b"2\n"


@given(TEXTS, TEXTS, TEXTS)
def test_marks_are_found_until_the_last_one_is_gone(base: bytes, yours: bytes, converted: bytes) -> None:
    merged, lines = merge_lines(base, yours, converted)
    assert marked_lines(merged, converted) == lines
    half = merged.replace(b"<<<<<<< yours\n", b"")
    assert bool(marked_lines(half, converted)) == bool(lines)
    assert not marked_lines(half.replace(b">>>>>>> converted", b""), converted)


def test_marks_of_the_research_code_itself_are_no_conflict() -> None:
    text = b'"""How git marks a conflict:\n\n<<<<<<< yours\n=======\n>>>>>>> converted\n"""\n'
    assert marked_lines(text, text) == ()
    assert marked_lines(text) == (3,)
