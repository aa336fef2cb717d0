"""What a job is told, and what it checks before it does it."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest
from pydantic import Field

from bessemer.cli.remote import _split
from bessemer.config.loading import load_settings
from bessemer.config.settings import Settings
from bessemer.errors import ClusterError, ProjectError
from bessemer.remote.submission import (
    JOB_FILE,
    Order,
    check_bessemer,
    check_pins,
    fingerprint,
    given_settings,
    job_name,
    pinned,
    read_order,
    requirements,
)


class Own(Settings):
    lr: float = Field(0.5, description="Step size (a number).")
    sizes: list[int] = Field([1], description="Sizes (count).")
    name: str | None = Field(None, description="A name.")


def order(**values: object) -> Order:
    made = {"verb": "train", "options": [], "settings": {}, "config": "", "pins": {}, "bessemer": "x"}
    return Order(**{**made, **values})  # type: ignore[arg-type]


def test_what_was_typed_here_is_what_the_job_is_told() -> None:
    typed = ["--lr", "0.25", "--sizes", "3", "4", "--scaling.num-workers", "[1,4]", "--name", "none"]
    loaded = load_settings(Own, typed)
    line = order(settings=json.loads(json.dumps(given_settings(loaded)))).arguments()
    there = load_settings(Own, line[3:], {"BESSEMER_LR": "9", "BESSEMER_SCALING__NUM_WORKERS": "7"})
    assert there.settings == loaded.settings


def test_variables_of_this_machine_travel_but_not_its_folders_and_addresses() -> None:
    environment = {
        "BESSEMER_LR": "0.125",
        "BESSEMER_CHECKPOINT__STORAGE_PATH": "/home/me/runs",
        "BESSEMER_TRACKING__URI": "http://user:secret@here:5000",
        "BESSEMER_TRACKING__USERNAME": "me",
    }
    assert given_settings(load_settings(Own, [], environment)) == {"lr": 0.125}
    typed = load_settings(Own, ["--checkpoint.storage-path", "/shared"], environment)
    assert given_settings(typed)["checkpoint.storage_path"] == "/shared"


def test_an_order_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = order(options=["--resume", "r"], settings={"lr": 0.1}, pins={"torch": "2.13.0"})
    (tmp_path / JOB_FILE).write_text(made.to_json())
    assert read_order(tmp_path) == made


@pytest.mark.parametrize("text", ["", "{", "[]", '{"verb": "train"}'])
def test_a_folder_that_was_not_submitted_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / JOB_FILE).write_text(text)
    with pytest.raises(ProjectError, match="cannot be read"):
        read_order(tmp_path)


def test_options_of_a_verb_are_told_from_settings() -> None:
    options, given, research = _split(
        "train", ["--lr", "0.1", "--resume", "night", "--allow-drift", "--scaling.device=cpu"]
    )
    assert options == ["--resume", "night", "--allow-drift"]
    assert given == ["--lr", "0.1", "--scaling.device=cpu"]
    assert research == ""


def test_the_research_codes_own_command_line_is_read_here_and_is_no_option_of_the_job() -> None:
    typed = ["--research-args", "data.csv --wandb-key abc", "--resume", "night"]
    assert _split("train", typed) == (["--resume", "night"], [], "data.csv --wandb-key abc")


def test_an_option_of_two_values_is_typed_once_for_both() -> None:
    options, _, _ = _split("evaluate", ["--compare", "first", "second"])
    assert options == ["--compare", "first", "second"]
    assert _split("evaluate", options)[0] == options


def test_names_of_jobs_differ_and_need_no_quotes() -> None:
    made = {job_name("my project/2", "train") for _ in range(20)}
    assert len(made) == 20
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_") for name in made)


def test_pins_that_are_installed_pass_also_where_a_build_is_named() -> None:
    check_pins({"torch": version("torch").partition("+")[0], "pydantic": version("pydantic")})


def test_pins_that_are_not_installed_are_named_with_what_is() -> None:
    with pytest.raises(ClusterError, match=r"pydantic .* instead of 0\.1.*no-such-thing none"):
        check_pins({"pydantic": "0.1", "no-such-thing": "1"})


def test_a_lock_file_is_read_without_its_notes() -> None:
    assert pinned("# head\na==1.0   # via b\n\nb==2.0+cpu\n") == {"a": "1.0", "b": "2.0+cpu"}


def test_another_bessemer_on_the_cluster_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    same = order(bessemer=fingerprint(tmp_path))
    check_bessemer(same, tmp_path)
    (tmp_path / "a.py").write_text("x = 2\n")
    with pytest.raises(ClusterError, match="another Bessemer"):
        check_bessemer(same, tmp_path)


def test_what_is_installed_for_a_job_is_the_lock_and_the_wheels_that_travel() -> None:
    found = requirements("bessemer==0.1.0\na==1\n", ["bessemer-0.1.0-py3-none-any.whl"])
    assert found[0] == "a==1"
    assert found[1].endswith("/wheels/bessemer-0.1.0-py3-none-any.whl")
