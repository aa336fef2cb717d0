"""Options: what the settings could not take over as it was is said."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bessemer.conversion.analysis import Analysis
from bessemer.conversion.option import settings_name
from conversion.converted_projects import CASES, Project
from conversion.small_programs import program

NOTES = {
    "folder": "was a positional argument; give it as --folder",
    "json": "json is taken in the settings",
    "scale": "has no type=",
    "flag": "type=bool means True for any text that is not empty",
    "bias": "--no-bias made it False",
    "sizes": "is a tuple in the settings",
}


@pytest.mark.parametrize("name", NOTES)
def test_what_changes_for_an_option_is_noted(name: str, analyzed: Callable[[str], Analysis]) -> None:
    options = analyzed((CASES / "odd_options" / "train.py").read_text()).script.options.options
    (option,) = [option for option in options if option.name == name]
    assert any(NOTES[name] in note for note in option.notes)


def test_notes_are_in_the_report(converted: Callable[[str], Project]) -> None:
    report = (converted("odd_options").root / "CONVERSION.md").read_text()
    assert all(note in report for note in NOTES.values())


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("lr", "lr"),
        ("data", "data_arg"),
        ("tuning", "tuning_arg"),
        ("copy", "copy_arg"),
        ("model_config", "model_config_arg"),
        ("_private", "private_arg"),
    ],
)
def test_a_field_hides_nothing_of_the_settings(name: str, field: str) -> None:
    assert settings_name(name) == field


def test_options_are_found_in_a_function_of_their_own(analyzed: Callable[[str], Analysis]) -> None:
    options = analyzed((CASES / "batch_scheduler" / "train.py").read_text()).script.options
    assert [option.name for option in options.options] == ["epochs", "betas", "norm"]
    assert options.helper is not None
    assert options.name == "options"


def test_an_option_that_means_true_without_a_value_is_a_truth_value(
    analyzed: Callable[[str], Analysis],
) -> None:
    line = 'parser.add_argument("--cuda", type=lambda x: x == "yes", default=False, nargs="?", const=True)'
    options = analyzed(
        f"import argparse\nparser = argparse.ArgumentParser()\n{line}\nargs = parser.parse_args()\n"
        + program(tail="print(args.cuda)\n")
    ).script.options.options
    assert [(x.name, x.annotation, x.default) for x in options] == [("cuda", "bool", "False")]
    assert options[0].spelling is not None
    assert options[0].spelling.action == "switch"
