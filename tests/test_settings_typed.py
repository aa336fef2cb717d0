"""What is typed on a command line: names, flags, lists, and what is said of a misspelt one."""

from __future__ import annotations

import pytest

from bessemer.config.loading import load_settings
from bessemer.config.settings import Settings
from bessemer.errors import SettingsError
from settings_examples import Digits, Torn, Write, refused, settings_of, typed

# Misspelt names


def test_a_misspelt_flag_gets_the_nearest_one() -> None:
    error = refused("--epoch", "3")
    assert "--epoch" in error.found
    assert "did you mean --epochs?" in error.expected


def test_a_misspelt_flag_of_a_section_gets_the_nearest_one() -> None:
    assert "did you mean --scaling.num-workers?" in refused("--scaling.num-worker", "3").expected


def test_a_setting_of_a_section_without_its_section_gets_its_full_name() -> None:
    assert "--scaling.num-workers" in refused("--num-workers", "3").expected


def test_a_misspelt_key_of_the_file_gets_the_nearest_one(write: Write) -> None:
    with pytest.raises(SettingsError, match=r"(?s)epoch.*did you mean epochs\?"):
        load_settings(Digits, file=write("epoch = 3\n"))


def test_a_misspelt_key_of_a_section_gets_the_nearest_one(write: Write) -> None:
    with pytest.raises(SettingsError, match=r"did you mean scaling.num_workers\?"):
        load_settings(Digits, file=write("[scaling]\nnum_worker = 3\n"))


def test_a_misspelt_section_of_the_file_is_refused(write: Write) -> None:
    with pytest.raises(SettingsError, match="scalin"):
        load_settings(Digits, file=write("[scalin]\nnum_workers = 3\n"))


@pytest.mark.parametrize(
    ("variable", "near"),
    [
        ("BESSEMER_EPOCH", "BESSEMER_EPOCHS"),
        ("BESSEMER_SCALING__NUM_WORKER", "BESSEMER_SCALING__NUM_WORKERS"),
        ("bessemer_epoch", "BESSEMER_EPOCHS"),
    ],
)
def test_a_misspelt_variable_of_the_environment_gets_the_nearest_one(variable: str, near: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(Digits, [], {variable: "3"})
    assert variable in caught.value.found
    assert f"did you mean {near}?" in caught.value.expected
    assert f"unset {variable}" in caught.value.todo


def test_other_variables_of_the_environment_are_left_alone() -> None:
    environment = {"PATH": "/bin", "LR": "9", "BESSEMER_DEBUG": "1", "SCALING__NUM_WORKERS": "9"}
    assert load_settings(Digits, [], environment).settings == Digits()


# What is typed


@pytest.mark.parametrize("flag", ["--no-cuda", "--no_cuda"])
def test_a_bare_flag_of_a_field_that_begins_with_no_sets_it(flag: str) -> None:
    assert typed(flag).no_cuda is True


def test_a_name_that_begins_with_no_is_first_of_all_a_name() -> None:
    assert load_settings(Torn, ["--no-cuda"]).settings == Torn(no_cuda=True)
    assert load_settings(Torn, ["--no-no-cuda"]).settings == Torn(no_cuda=False)


def test_no_and_a_flag_turns_it_off() -> None:
    assert typed("--no-save-model").save_model is False
    assert typed("--no-no-cuda").no_cuda is False


@pytest.mark.parametrize(
    "arguments", [("--save-model", "false"), ("--save-model=false",), ("--save_model=0",)]
)
def test_a_flag_takes_a_value_too(arguments: tuple[str, ...]) -> None:
    assert typed(*arguments).save_model is False


def test_a_bare_flag_may_stand_before_another_setting() -> None:
    settings = typed("--no-cuda", "--lr", "0.25", "--save-model")
    assert (settings.no_cuda, settings.lr, settings.save_model) == (True, 0.25, True)


def test_no_does_not_work_on_what_is_no_flag() -> None:
    assert "--no-epochs" in refused("--no-epochs").found


@pytest.mark.parametrize(
    "arguments",
    [
        ("--sizes", "1", "2", "3"),
        ("--sizes", "1", "--sizes", "2", "--sizes", "3"),
        ("--sizes", "[1, 2, 3]"),
        ("--sizes=1,2,3",),
    ],
)
def test_a_list_can_be_given_in_every_usual_way(arguments: tuple[str, ...]) -> None:
    assert typed(*arguments).sizes == [1, 2, 3]


@pytest.mark.parametrize(
    "arguments", [("--shift", "-3.5"), ("--shift=-3.5",), ("--shift", "-3.5", "--no-cuda")]
)
def test_a_negative_number_is_a_value_and_no_flag(arguments: tuple[str, ...]) -> None:
    assert typed(*arguments).shift == -3.5


@pytest.mark.parametrize("text", ["-1e-3", "-.5", "-1E5", "-inf"])
def test_a_negative_number_may_be_written_in_any_way(text: str) -> None:
    assert typed(f"--shift={text}").shift == float(text)
    assert typed("--shift", text).shift == float(text)


def test_the_last_of_two_values_counts() -> None:
    assert typed("--lr", "0.1", "--lr", "0.2").lr == 0.2


def test_a_value_may_hold_an_equals_sign() -> None:
    assert typed("--title=a=b").title == "a=b"
    assert typed("--title", "a=b").title == "a=b"


@pytest.mark.parametrize("text", ["", " ", "a b", "[1, 2]", '{"a": 1}', "null", "-", "-x", "--x", "ä", "#"])
def test_a_text_is_taken_as_it_was_typed(text: str) -> None:
    assert typed(f"--title={text}").title == text
    assert load_settings(Digits, [], {"BESSEMER_TITLE": text}).settings == Digits(title=text)


def test_a_choice_takes_what_it_lists_and_nothing_else() -> None:
    assert typed("--optimizer", "adam").optimizer == "adam"
    error = refused("--optimizer", "rmsprop")
    assert "optimizer = 'rmsprop' (from the command line)" in error.found
    assert "'sgd' or 'adam'" in error.expected


def test_a_setting_that_may_be_none_can_be_set_and_unset(write: Write) -> None:
    assert typed("--limit", "5").limit == 5
    assert typed().limit is None
    file = write("limit = 7\n")
    assert settings_of(load_settings(Digits, [], {}, file)).limit == 7
    assert settings_of(load_settings(Digits, ["--limit", "null"], {}, file)).limit is None


def test_a_flag_without_a_value_is_refused() -> None:
    assert refused("--lr").found == "--lr has no value"
    assert refused("--lr", "--no-cuda").found == "--lr has no value"


def test_two_values_for_one_are_refused() -> None:
    assert "'0.2' after --lr 0.1" in refused("--lr", "0.1", "0.2").found


def test_a_value_without_a_flag_is_refused() -> None:
    assert "'0.1'" in refused("0.1").found
    assert "'-lr'" in refused("-lr", "0.1").found


def test_a_namespace_of_settings_may_be_changed_and_has_the_projects_own_alone() -> None:
    class Own(Settings):
        lr: float = 0.1

    settings = Own()
    options = settings.as_namespace()
    options.lr = options.lr / 2
    options.device = "cpu"
    assert vars(options) == {"lr": 0.05, "device": "cpu"}
    assert settings.lr == 0.1
