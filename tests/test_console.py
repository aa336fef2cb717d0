"""What a person sees: a table and a bar in a terminal, plain lines in a pipe."""

from __future__ import annotations

import contextlib
import re
import sys
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from bessemer.utils.console import TrainingScreen, duration, guess_direction, number
from bessemer.utils.events import (
    AttemptStarted,
    Event,
    LayerRow,
    ModelPlaced,
    Note,
    Progress,
    Tally,
    TurnEnded,
)

MODEL = ModelPlaced(
    kind="Net",
    rows=(LayerRow("conv1", "Conv2d", 320), LayerRow("fc", "Linear", 1_199_882)),
    num_parameters=1_200_202,
    num_trainable=1_200_202,
    size_bytes=4_800_808,
)


def turn(number: int, num_turns: Any = 3, duration_s: float = 2.0, **metrics: float) -> TurnEnded:
    return TurnEnded(str(number), number, num_turns, 10 * number, duration_s, 1234.5, 0.07, metrics)


def shown(*events: Event, terminal: bool = False, width: int = 120) -> str:
    screen_file = StringIO()
    console = Console(force_terminal=terminal, width=width, file=screen_file, color_system=None)
    with TrainingScreen(console) as screen:
        for event in events:
            screen.show(event)
    return screen_file.getvalue()


def rows(text: str) -> list[str]:
    """The lines that stay in a terminal: without what was erased, the bar and control codes."""
    kept = [line.rpartition("\x1b[2K")[2] for line in text.split("\n")]
    plain = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", line).rstrip() for line in kept]
    return [line for line in plain if line and "━" not in line]


# A pipe


def test_a_pipe_gets_one_plain_line_an_epoch() -> None:
    text = shown(MODEL, AttemptStarted(1, "2 x cpu", None), turn(1, loss=0.5), turn(2, loss=0.25))
    assert text.splitlines() == [
        "model Net: 1,200,202 parameters, 4.6 MiB",
        "training on 2 x cpu",
        "epoch 1/3  loss 0.5000  samples/s 1,234  data wait 7%  time 2 s  left 4 s",
        "epoch 2/3  loss 0.2500  samples/s 1,234  data wait 7%  time 2 s  left 2 s",
    ]


def test_a_pipe_gets_no_control_codes_and_no_progress() -> None:
    begun = AttemptStarted(1, "cpu", None)
    text = shown(MODEL, begun, Progress(0, 3, 5, 10), Tally(1, 2.0, 1.0), turn(1, loss=0.5))
    assert "\x1b" not in text
    assert "\r" not in text
    assert len(text.splitlines()) == 3


def test_a_line_of_a_pipe_is_never_wrapped() -> None:
    metrics = {f"a_metric_with_a_long_name/{i}": float(i) for i in range(20)}
    assert len(shown(turn(1, **metrics), width=40).splitlines()) == 1


def test_names_and_notes_are_shown_as_they_are() -> None:
    text = shown(Note("use [bold] and {braces}"), turn(1, **{"loss[0]": 1.0}))
    assert "note: use [bold] and {braces}" in text
    assert "loss[0] 1" in text


def test_an_outer_loop_without_an_end_shows_no_total() -> None:
    assert shown(turn(4, None, loss=1.5)).startswith("epoch 4  loss 1.5000")
    assert "left ?" in shown(turn(4, None, loss=1.5))


# Attempts and notes


def test_a_restart_says_where_training_goes_on() -> None:
    again = "workers restarted, training goes on from"
    assert f"attempt 2: {again} step 40" in shown(AttemptStarted(2, "cpu", 40))
    assert f"attempt 3: {again} the start" in shown(AttemptStarted(3, "cpu", None))
    assert "training on 1 x cpu, from step 40" in shown(AttemptStarted(1, "1 x cpu", 40))


def test_an_attempt_says_why_it_began_and_how_long_it_waited() -> None:
    resized = shown(AttemptStarted(2, "3 x cpu", 40, "resize"))
    assert resized == "attempt 2: training on 3 x cpu now, training goes on from step 40\n"
    taken = shown(AttemptStarted(3, "2 x cpu", 40, "preemption"))
    assert taken == "attempt 3: a node was taken away, workers restarted, training goes on from step 40\n"
    fewer = shown(AttemptStarted(2, "3 x cpu", 40, "resize"), AttemptStarted(3, "1 x cpu", 45, "failure"))
    last = fewer.splitlines()[-1]
    assert last == "attempt 3: workers restarted, now 1 x cpu, training goes on from step 45"
    waited = shown(AttemptStarted(4, "2 x cpu", 40, "failure", 2.0))
    assert waited == "attempt 4: workers restarted after a wait of 2 s, training goes on from step 40\n"


def test_a_note_is_shown_once() -> None:
    assert shown(Note("look"), Note("look"), Note("there")).splitlines() == ["note: look", "note: there"]


# A terminal


def test_a_terminal_gets_a_table_of_the_model() -> None:
    lines = rows(shown(MODEL, terminal=True))
    assert lines[0].strip() == "Net: 1,200,202 parameters, 4.6 MiB"
    assert lines[1].split() == ["layer", "type", "parameters"]
    assert [line.split() for line in lines[2:4]] == [
        ["conv1", "Conv2d", "320"],
        ["fc", "Linear", "1,199,882"],
    ]


def test_a_terminal_gets_a_header_and_rows_in_columns() -> None:
    text = shown(
        AttemptStarted(1, "cpu", None),
        turn(1, **{"train/loss": 0.5, "test/accuracy": 0.125}),
        turn(2, **{"train/loss": -123.25, "test/accuracy": 1.0}),
        terminal=True,
    )
    header, first, second = rows(text)[-3:]
    columns = ["epoch", "train/loss", "test/accuracy", "samples/s", "data wait", "time", "left"]
    assert re.split(r"  +", header) == columns
    assert re.split(r"  +", first) == ["1/3", "0.5000", "0.1250", "1,234", "7%", "2 s", "4 s"]
    assert re.split(r"  +", second) == ["2/3", "-123.2500", "1", "1,234", "7%", "2 s", "2 s"]
    ends = [header.index(name) + len(name) for name in columns[1:]]
    for line in (first, second):
        assert all(end >= len(line) or line[end] == " " for end in ends)
        assert all(line[end - 1] != " " for end in ends)


def test_the_header_comes_again_when_the_columns_change() -> None:
    text = shown(turn(1, a=1.0), turn(2, a=1.0), turn(3, a=1.0, b=2.0), terminal=True)
    assert [line.split()[0] for line in rows(text)] == ["epoch", "1/3", "2/3", "epoch", "3/3"]


def test_what_goes_to_standard_error_while_training_stays_out_of_the_table() -> None:
    screen_file, log = StringIO(), StringIO()
    console = Console(force_terminal=True, width=120, file=screen_file, color_system=None)
    with contextlib.redirect_stderr(log), TrainingScreen(console) as screen:
        print("(raylet) a worker died", file=sys.stderr)
        screen.show(turn(1, loss=0.5))
    assert log.getvalue() == "(raylet) a worker died\n"
    assert "raylet" not in screen_file.getvalue()


def test_the_bar_of_a_terminal_shows_the_epoch_and_goes_away() -> None:
    begun = AttemptStarted(1, "cpu", None)
    assert "starting workers" in shown(terminal=True)
    assert "first batch" in shown(begun, terminal=True)
    text = shown(begun, Progress(1, 3, 5, 10), terminal=True)
    assert re.search(r"epoch 2/3 ━.* 5/10", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text))
    assert rows(text) == ["training on cpu"]


def test_the_best_value_so_far_is_green() -> None:
    screen_file = StringIO()
    console = Console(force_terminal=True, width=120, file=screen_file, color_system="standard")
    screen = TrainingScreen(console)
    for epoch, (loss, acc) in enumerate([(0.5, 0.5), (0.75, 0.75), (float("nan"), 0.5)], start=1):
        screen.show(turn(epoch, loss=loss, acc=acc))
    green = re.findall(r"\x1b\[32m\s*(\S+?)\x1b", screen_file.getvalue())
    assert green == ["0.5000", "0.5000", "0.7500"]


# Numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1, "1"),
        (-0.0, "-0"),
        (0.5, "0.5000"),
        (12.3456789, "12.3457"),
        (100, "100"),
        (98_765, "98765"),
        (0.00012345, "0.000123"),
        (1.5e-7, "1.5e-07"),
        (1e6, "1e+06"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (-float("inf"), "-inf"),
    ],
)
def test_a_number_is_short_and_readable(value: float, text: str) -> None:
    assert number(value) == text


@settings(max_examples=300, deadline=None)
@example(-1234.5678)
@example(9999.99999)
@example(-9999.99999)
@example(-999_999.0)
@given(st.floats(1e-99, 1e99) | st.floats(-1e99, -1e-99))
def test_a_number_has_at_most_nine_characters(value: float) -> None:
    assert len(number(value)) <= 9


@settings(max_examples=200, deadline=None)
@example(-1.2345e-300)
@given(st.floats())
def test_any_number_fits_its_column(value: float) -> None:
    assert len(number(value)) <= 10


@settings(max_examples=300, deadline=None)
@given(st.floats(1e-6, 1e9) | st.floats(-1e9, -1e-6))
def test_a_number_that_is_shown_is_close_to_the_value(value: float) -> None:
    assert float(number(value)) == pytest.approx(value, rel=0.05, abs=1e-6)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.0421, "0.042 s"),
        (0.42, "0.42 s"),
        (9.94, "9.9 s"),
        (12.4, "12 s"),
        (61, "1 min 01 s"),
        (200, "3 min 20 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (360_000, "100 h 00 min"),
    ],
)
def test_a_duration_is_read_at_a_glance(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@settings(max_examples=200, deadline=None)
@example(9.99)
@example(59.7)
@given(st.floats(0, 10**6))
def test_a_duration_never_shows_sixty_of_anything(seconds: float) -> None:
    text = duration(seconds)
    assert not re.search(r"\b60 (s|min)\b", text)
    assert "e" not in text
    assert len(text) <= 12


@pytest.mark.parametrize(
    ("name", "smaller_is_better"),
    [
        ("train/loss", True),
        ("val_loss", True),
        ("rmse", True),
        ("Test/Accuracy", False),
        ("val_acc", False),
        ("f1", False),
        ("accumulated", None),
        ("lr", None),
        ("glossary", None),
    ],
)
def test_the_better_direction_is_told_by_the_words_of_a_name(
    name: str, smaller_is_better: bool | None
) -> None:
    assert guess_direction(name) is smaller_is_better


def test_whoever_knows_the_better_direction_can_say_so() -> None:
    def smaller(name: str) -> bool | None:
        return name == "score"

    screen_file = StringIO()
    console: Any = Console(force_terminal=True, width=120, file=screen_file, color_system="standard")
    screen = TrainingScreen(console, smaller)
    for event in (turn(1, score=2.0), turn(2, score=1.0), turn(3, score=3.0)):
        screen.show(event)
    assert re.findall(r"\x1b\[32m\s*(\S+?)\x1b", screen_file.getvalue()) == ["2", "1"]


@pytest.mark.parametrize("terminal", [False, True])
def test_a_row_without_samples_says_nothing_of_them_and_names_what_its_turn_is(terminal: bool) -> None:
    row = replace(turn(1, loss=0.5), unit="step", samples_per_s=0.0)
    text = shown(row, terminal=terminal)
    assert "samples/s" not in text
    assert "data wait" not in text
    assert "step" in text
    assert "epoch" not in text
