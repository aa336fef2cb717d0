"""`bessemer verify` as a user runs it: the converted digits are what they were, and an edit is found."""

from __future__ import annotations

import json
import shutil

import pytest

from conversion.converted_projects import CASES
from integration.workplaces import Workplace

pytestmark = pytest.mark.timeout(400)


def test_digits_are_verified_equal_and_an_edited_learning_rate_is_found(workplace: Workplace) -> None:
    research = ("--research-args", "--batch-size 32 --lr 0.5", "--steps", "12")
    done = workplace.run("verify", "digits", *research, "--json", timeout_s=300)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["verdict"], found["steps_compared"], found["workers"]) == ("equal", 12, 2)
    assert found["first_difference"] is None
    assert found["max_difference"] < 1e-4

    project = workplace.folder / "projects" / "digits"
    kept = json.loads((project / "verification.json").read_text())
    assert found.items() <= kept.items()
    (trainer,) = project.glob("*/training/trainer.py")
    code = trainer.read_text()
    try:
        trainer.write_text(code.replace("lr=args.lr", "lr=0.9 * args.lr"))
        done = workplace.run("verify", "digits", *research, "--workers", "1", "--json")
    finally:
        trainer.write_text(code)
    assert done.returncode == 1, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["verdict"], found["steps_compared"]) == ("different", 0)
    assert found["first_difference"]["step"] == 1
    assert "parameters after Adadelta" in found["first_difference"]["name"]
    assert found["first_difference"]["original"] != found["first_difference"]["converted"]
    changed = json.loads((project / "verification.json").read_text())
    assert changed["source_sha256"] == kept["source_sha256"]
    assert changed["project_sha256"] != kept["project_sha256"]


def test_a_program_of_2017_is_verified_as_what_it_was(workplace: Workplace) -> None:
    shutil.copytree(CASES / "old_style", workplace.folder / "src" / "old_style")
    done = workplace.run("verify", "old_style", "--steps", "6", "--workers", "1", "--json", timeout_s=300)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["verdict"], found["steps_compared"]) == ("equal", 6)
    code = (workplace.folder / "src" / "old_style" / "train.py").read_text().split("\n")
    line = next(i for i, row in enumerate(code, 1) if "loss.data[0]" in row)
    assert f"train.py:{line}: loss.data[0] -> loss.item()" in found["modernised"]
    project = workplace.folder / "projects" / "old_style"
    assert json.loads((project / "verification.json").read_text())["modernised"] == found["modernised"]
    kinds = [x["kind"] for x in json.loads((project / "conversion.json").read_text())["plan"]["rewrites"]]
    assert kinds.count("modernise") == len(found["modernised"])
    assert "loss.data[0]" in (project / "CONVERSION.md").read_text()


def test_an_option_that_the_research_code_does_not_have_is_a_mistake(workplace: Workplace) -> None:
    done = workplace.run("verify", "digits", "--research-args", "--batch-sise 32")
    assert done.returncode == 2
    assert "did you mean --batch-size?" in done.stderr
