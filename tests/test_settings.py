"""Settings come from the command line, the environment, a file and the class, in that order."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from hypothesis import example, given
from hypothesis import settings as bounded
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from bessemer.config.loading import fields_of, load_settings, to_toml, value_at, without_required
from bessemer.config.settings import Scaling, Settings
from bessemer.errors import SettingsError
from settings_examples import Digits, Needy, Write, refused, settings_of, typed

# Precedence


def test_each_source_overrides_those_below_it_and_is_remembered(write: Write) -> None:
    file = write("lr = 0.1\nepochs = 1\nshift = 1.0\n")
    environment = {"BESSEMER_LR": "0.2", "BESSEMER_EPOCHS": "2"}
    loaded = load_settings(Digits, ["--lr", "0.3"], environment, file)
    settings = settings_of(loaded)
    assert (settings.lr, settings.epochs, settings.shift, settings.title) == (0.3, 2, 1.0, "")
    origins = {name: loaded.origins[name] for name in ("lr", "epochs", "shift", "title")}
    assert origins == {"lr": "command line", "epochs": "environment", "shift": "file", "title": "default"}
    assert loaded.file == file


def test_sections_are_merged_value_by_value(write: Write) -> None:
    file = write("[scaling]\nnum_workers = 2\nmax_failures = 7\n[data]\nseed = 5\n")
    loaded = load_settings(Digits, ["--scaling.num-workers", "4"], {"BESSEMER_SCALING__DEVICE": "cpu"}, file)
    scaling = loaded.settings.scaling
    assert (scaling.num_workers, scaling.device, scaling.max_failures) == (4, "cpu", 7)
    assert loaded.settings.data.seed == 5
    assert loaded.origins["scaling.num_workers"] == "command line"
    assert loaded.origins["scaling.device"] == "environment"
    assert loaded.origins["scaling.max_failures"] == "file"
    assert loaded.origins["scaling.cpus_per_worker"] == "default"


@pytest.mark.parametrize("text", ["1,4", "[1,4]", "[1, 4]", "1, 4"])
def test_the_number_of_workers_may_be_a_range(write: Write, text: str) -> None:
    variable = {"BESSEMER_SCALING__NUM_WORKERS": text}
    for settings in (
        typed("--scaling.num-workers", text),
        load_settings(Digits, [], variable).settings,
        load_settings(Digits, file=write("[scaling]\nnum_workers = [1, 4]\n")).settings,
    ):
        assert settings.scaling.num_workers == (1, 4)
        assert (settings.scaling.min_workers, settings.scaling.max_workers) == (1, 4)
        assert settings.scaling.is_elastic
        again = load_settings(Digits, file=write(to_toml(settings))).settings
        assert again == settings


def test_a_plain_number_of_workers_is_a_range_of_one() -> None:
    for text in ("3", "3,3", "[3]"):
        scaling = typed("--scaling.num-workers", text).scaling
        assert (scaling.num_workers, scaling.min_workers, scaling.max_workers) == (3, 3, 3)
        assert not scaling.is_elastic


@pytest.mark.parametrize("text", ["0", "-1", "4,1", "0,2", "1,2,3", "many", "1.5", "", "[]"])
def test_a_number_of_workers_that_is_none_is_refused(text: str) -> None:
    assert "scaling.num_workers" in refused(f"--scaling.num-workers={text}").found


@pytest.mark.parametrize("value", [True, 1.5, None, [1, True], {"low": 1}])
def test_a_number_of_workers_of_another_type_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        Scaling.model_validate({"num_workers": value})


def test_a_dictionary_of_the_file_is_replaced_as_a_whole(write: Write) -> None:
    file = write("[weights]\na = 1.0\n")
    loaded = load_settings(Digits, [], {"BESSEMER_WEIGHTS": '{"b": 2.0}'}, file)
    assert settings_of(loaded).weights == {"b": 2.0}


def test_every_value_has_an_origin() -> None:
    loaded = load_settings(Digits)
    assert set(loaded.origins) == {name for name, _ in fields_of(Digits)}
    assert set(loaded.origins.values()) == {"default"}
    assert loaded.file is None


def test_the_environment_is_ignored_when_a_class_is_built_from_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BESSEMER_LR", "9")
    monkeypatch.setenv("BESSEMER_SCALING__NUM_WORKERS", "9")
    assert Digits().lr == 0.5
    assert Digits(epochs=3).scaling.num_workers == 1
    assert load_settings(Digits, [], {}).settings.scaling.num_workers == 1


def test_settings_are_the_same_on_the_worker_that_they_are_sent_to(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = typed("--lr", "0.25", "--scaling.num-workers", "3")
    sent = cloudpickle.dumps(settings)
    monkeypatch.setenv("BESSEMER_LR", "9")
    assert cloudpickle.loads(sent) == settings


# Values


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("--epochs", "0"), "epochs = '0'"),
        (("--epochs", "many"), "epochs = 'many'"),
        (("--epochs", "1.5"), "epochs = '1.5'"),
        (("--scaling.num-workers", "0"), "scaling.num_workers = '0'"),
        (("--no-cuda", "maybe"), "no_cuda = 'maybe'"),
        (("--data.order", "random"), "data.order = 'random'"),
        (("--limit", "few"), "limit = 'few'"),
    ],
)
def test_a_wrong_value_is_named_with_where_it_came_from(arguments: tuple[str, ...], name: str) -> None:
    assert f"{name} (from the command line)" in refused(*arguments).found


def test_a_wrong_value_of_the_environment_or_the_file_is_named_with_where_it_came_from(write: Write) -> None:
    with pytest.raises(SettingsError, match=r"epochs = '0' \(from the environment\)"):
        load_settings(Digits, [], {"BESSEMER_EPOCHS": "0"})
    with pytest.raises(SettingsError, match=r"epochs = 0 \(from the file\)"):
        load_settings(Digits, [], {}, write("epochs = 0\n"))


def test_a_wrong_item_of_a_list_names_the_setting() -> None:
    assert "sizes" in refused("--sizes", "1", "big").found


def test_a_required_setting_without_a_value_says_so() -> None:
    with pytest.raises(SettingsError, match="path is required and has no value"):
        load_settings(Needy)
    assert load_settings(Needy, ["--path", "x"]).settings == Needy(path="x")


def test_who_asks_where_runs_are_need_not_give_what_a_program_requires() -> None:
    model = without_required(Needy)
    given = ["--checkpoint.storage-path", "/elsewhere"]
    assert load_settings(model, given).settings.checkpoint.storage_path == "/elsewhere"
    assert load_settings(model, ["--path", "x"]).settings.model_dump()["path"] == "x"
    assert without_required(Digits) is Digits


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"there is no settings file .*nowhere\.toml"):
        load_settings(Digits, file=tmp_path / "nowhere.toml")


@pytest.mark.parametrize("content", [b"lr = \n", b"lr = 0.1\nlr = 0.2\n", b"\xff\xfe"])
def test_a_broken_file_is_a_settings_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "settings.toml"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match="is not valid TOML"):
        load_settings(Digits, file=file)


def test_a_value_where_the_file_should_have_a_section_is_a_settings_error(write: Write) -> None:
    with pytest.raises(SettingsError, match="scaling"):
        load_settings(Digits, file=write("scaling = 3\n"))


# The file that repeats a run

NUMBERS = st.floats(allow_nan=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@bounded(max_examples=150, deadline=None)
@example(title='"\\\n\r\t\x00\x7f\x85\u2028', lr=float("inf"), sizes=[], limit=None, weights={"a b.c": 1.0})
@given(
    title=TEXTS,
    lr=NUMBERS,
    sizes=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
    limit=st.none() | st.integers(-(2**63), 2**63 - 1),
    weights=st.dictionaries(TEXTS, NUMBERS, max_size=3),
)
def test_settings_written_as_toml_come_back_equal(
    tmp_path_factory: pytest.TempPathFactory,
    title: str,
    lr: float,
    sizes: list[int],
    limit: int | None,
    weights: dict[str, float],
) -> None:
    settings = Digits(title=title, lr=lr, sizes=sizes, limit=limit, weights=weights)
    file = tmp_path_factory.getbasetemp() / "settings-round-trip.toml"
    file.write_text(to_toml(settings), encoding="utf-8")
    assert load_settings(Digits, file=file).settings == settings


def test_a_search_space_written_as_toml_comes_back_equal(write: Write) -> None:
    space = '[tuning.space]\nlr = {low = 0.1, high = 2.0, log = true}\n"data.seed" = {choices = [1, 2]}\n'
    settings = load_settings(Digits, file=write(space)).settings
    assert settings.tuning.space["lr"] == {"low": 0.1, "high": 2.0, "log": True}
    assert load_settings(Digits, file=write(to_toml(settings))).settings == settings


def test_a_toml_file_says_every_value_under_its_section() -> None:
    tree = tomllib.loads(to_toml(Digits()))
    names = [name for name, _ in fields_of(Digits) if name not in ("limit", "registry.threshold")]
    for name in names:
        table = tree
        for part in name.split(".")[:-1]:
            table = table[part]
        assert name.split(".")[-1] in table
    lines = [line for line in to_toml(Digits()).splitlines() if line and not line.startswith("[")]
    assert len(lines) == len(names)


# The classes


def test_settings_and_their_sections_are_frozen() -> None:
    settings: Any = Digits()
    with pytest.raises(ValidationError, match="frozen"):
        settings.lr = 1.0
    with pytest.raises(ValidationError, match="frozen"):
        settings.scaling.num_workers = 2


def test_a_name_that_a_class_does_not_have_is_refused() -> None:
    with pytest.raises(ValidationError, match="lrr"):
        Digits.model_validate({"lrr": 0.1})
    with pytest.raises(ValidationError, match="num_worker"):
        Digits.model_validate({"scaling": {"num_worker": 2}})


UNITS = ("count", "seconds", "hours", "epochs", "bytes", "fraction", "a number")


def sections_of(model: type[BaseModel]) -> list[tuple[FieldInfo, type[BaseModel]]]:
    kinds = [(field, field.annotation) for field in model.model_fields.values()]
    found = [(n, k) for n, k in kinds if isinstance(k, type) and issubclass(k, BaseModel)]
    return [*found, *(inner for _, kind in found for inner in sections_of(kind))]


@pytest.mark.parametrize("name", [name for name, _ in fields_of(Settings)])
def test_every_setting_says_what_it_means(name: str) -> None:
    description = dict(fields_of(Settings))[name].description
    assert description
    assert description[0].isupper() or description.split(":")[0].isalpha()
    assert description.endswith(".")


@pytest.mark.parametrize("name", [name for name, _ in fields_of(Settings)])
def test_every_number_says_its_unit(name: str) -> None:
    field = dict(fields_of(Settings))[name]
    if field.annotation in (int, float) and name not in ("data.seed", "tuning.seed"):
        assert field.description
        assert any(f"({unit}" in field.description for unit in UNITS)


def test_every_section_says_what_it_is_about() -> None:
    for field, section in sections_of(Settings):
        description = field.description
        assert description
        assert section.model_config["frozen"]
        assert section.model_config["extra"] == "forbid"


def test_a_value_is_found_by_its_dotted_name() -> None:
    settings = Digits.model_validate({"scaling": {"num_workers": 2}})
    assert value_at(settings, "scaling.num_workers") == 2
    assert value_at(settings, "lr") == 0.5


def test_what_is_wrong_in_a_source_is_named_with_the_source(write: Write) -> None:
    source = '[data.sources.train]\nformat = "csv"\npath = "a"\n'
    file = write(source.replace("csv", "cvs"))
    with pytest.raises(SettingsError, match=r"data\.sources\.train\.format = 'cvs' \(from the file\)"):
        load_settings(Settings, file=file)
    file = write(source + "window_byte = 5\n")
    with pytest.raises(SettingsError, match=r"data\.sources\.train\.window_byte = 5") as caught:
        load_settings(Settings, file=file)
    assert "did you mean window_bytes?" in str(caught.value)
