"""What `analyze` says of a source, beside the roles: its files, programs, loops, options, chance, verdict."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bessemer.cli import entry
from bessemer.conversion import analysis
from bessemer.conversion.survey import report, survey, verdict
from conversion.small_programs import program

# A folder is read by several processes, which others may slow down.
pytestmark = pytest.mark.timeout(400)

PROGRAMS = Path(__file__).parent / "roles"


def _only(source: Path) -> report.ProgramFound:
    (found,) = (x for x in survey(source).programs if x.trains)
    return found


def test_a_script_is_told_whole() -> None:
    found = _only(PROGRAMS / "plain_script" / "train.py")
    assert [(x.kind, x.over) for x in found.loops] == [
        ("batches", "enumerate(batches)"),
        ("evaluation", "batches"),
        ("epochs", "range(args.epochs)"),
    ]
    assert [(x.name, x.default, x.by) for x in found.options] == [
        ("lr", "0.1", "argparse"),
        ("epochs", "3", "argparse"),
        ("every", "10", "argparse"),
    ]
    assert found.random.seeded_at == ("train.py:49",)
    assert [x.what for x in found.random.draws] == ["DataLoader(shuffle)"]
    assert found.data_parallel.possible
    assert found.imports == ("torch", "torchvision")
    assert found.convertible
    assert found.refused is None


def test_options_are_found_in_classes_dictionaries_and_click() -> None:
    by_class = _only(PROGRAMS / "several_files").options
    by_dictionary = _only(PROGRAMS / "ensemble").options
    by_click = _only(PROGRAMS / "stopping").options
    assert ("lr", "1e-3", "class") in [(x.name, x.default, x.by) for x in by_class]
    assert ("members", "3", "dictionary") in [(x.name, x.default, x.by) for x in by_dictionary]
    assert ("path", '"table.csv"', "click") in [(x.name, x.default, x.by) for x in by_click]


def test_what_conversion_refuses_is_told_with_the_reason_and_all_else(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import tensorflow as tf\n" + program())
    found = _only(tmp_path)
    assert found.convertible is False
    assert found.refused is not None
    assert found.refused.found.startswith("train.py:1: ")
    assert found.refused.todo
    assert any(x.role == "model" for x in found.roles)
    assert [x.kind for x in found.loops] == ["epochs", "batches"]


def test_a_program_without_a_loader_is_not_data_parallel() -> None:
    found = _only(PROGRAMS / "pole_balance")
    assert found.data_parallel.possible is False
    assert "no loader" in found.data_parallel.reason


def test_a_folder_of_programs_is_told_program_by_program() -> None:
    found = survey(PROGRAMS)
    assert sum(x.trains for x in found.programs) == len(list(PROGRAMS.glob("*/labels.toml")))
    by_path = {x.path: x for x in found.programs}
    assert set(by_path["several_files/main.py"].files[1:]) == {
        f"several_files/{x}.py" for x in ("config", "data", "engine", "nets", "utils")
    }
    assert "base_trainer/lib/trainers.py" in by_path["base_trainer/run.py"].files


def test_several_processes_say_the_same_as_one() -> None:
    assert survey(PROGRAMS, num_workers=2) == survey(PROGRAMS, num_workers=1)


def test_a_script_that_only_uses_a_model_does_not_train(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(program() + "\ndef load():\n    return nn.Linear(1, 1)\n")
    (tmp_path / "predict.py").write_text("from train import load\nprint(load())\n")
    found = {x.path: x.trains for x in survey(tmp_path).programs}
    assert found == {"train.py": True, "predict.py": False}


def test_too_many_lines_are_not_judged_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("bessemer.conversion.survey.MAX_JUDGED_LINES", 30)
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text(program())
    assert [x.convertible for x in survey(tmp_path).programs] == [True, None]


def test_a_fault_of_the_converter_does_not_hide_the_rest(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(*_: object) -> analysis.Analysis:
        raise KeyError("a fault")

    monkeypatch.setattr(verdict, "analyze_program", fails)
    (tmp_path / "train.py").write_text(program())
    found = _only(tmp_path)
    assert found.refused is not None
    assert found.refused.found == "the converter fails on this program: KeyError: 'a fault'"
    assert {x.role for x in found.roles} >= {"model", "optimizer", "loader"}


@pytest.mark.timeout(20)
def test_values_that_are_computed_from_each_other_over_and_over_are_followed_once(tmp_path: Path) -> None:
    chain = "a = torch.ones(3)\n" + "a = a * a + a\n" * 40 + "print(a)\n"
    (tmp_path / "train.py").write_text(program(top="\n" + chain))
    assert _only(tmp_path).convertible


def test_a_package_with_an_empty_init_is_read_and_converted(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "parts").mkdir(parents=True)
    (source / "parts" / "__init__.py").touch()
    (source / "parts" / "rates.py").write_text("LR = 0.1\n")
    (source / "train.py").write_text("from parts.rates import LR\n" + program(head="print(LR)"))
    assert survey(source).files.num_read == 3
    assert entry(["convert", str(source), "--out", str(tmp_path / "out")]) == 0


def test_the_keys_of_the_json_are_those_that_are_documented(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry(["analyze", str(PROGRAMS / "plain_script"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (told,) = found["programs"]
    assert list(found) == ["source", "kind", "files", "programs"]
    assert list(found["files"]) == ["num_read", "num_lines", "skipped"]
    assert list(told) == [
        *("path", "trains", "files", "num_lines", "roles", "loops", "options", "random"),
        *("data_parallel", "imports", "runs", "convertible", "refused"),
    ]
    keys = {*found, *found["files"], *told, *told["roles"][0], *told["loops"][0], *told["options"][0]}
    keys |= {*told["random"], *told["random"]["draws"][0], *told["data_parallel"]}
    documented = report.__doc__ or ""
    assert [x for x in keys if f"`{x}`" not in documented] == []


def test_a_terminal_gets_sections(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.py").write_text("import tensorflow as tf\n" + program())
    assert entry(["analyze", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for section in ("refused", "data-parallel", "roles", "loops", "random", "imports"):
        assert f"\n  {section} " in printed
    assert max(map(len, printed.splitlines())) <= 100
