"""What `make lint` and `make audit` look at, and what they say."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
# Kept as they came, as in [tool.ruff] of pyproject.toml.
RESEARCH = ("src/", "projects/", "tests/conversion/cases/", "tests/conversion/roles/")
KNOWN = {"id": "CVE-1", "aliases": ["GHSA-1"], "fix_versions": ["2.1"]}


def test_lint_reads_every_image_yaml_and_shell_script() -> None:
    if not (ROOT / ".git").exists() or shutil.which("git") is None or shutil.which("make") is None:
        pytest.skip("needs a clone, git and make")
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    ours = [x for x in output_of(command).splitlines() if not x.startswith(RESEARCH) and (ROOT / x).is_file()]
    linted = set(output_of(["make", "--no-print-directory", "-C", str(ROOT), "linted"]).splitlines())
    # The source of this one is the same, byte for byte; `make render` writes it.
    linted.add("bessemer/deployment/files/Dockerfile")
    assert sorted(x for x in ours if is_linted(x) and x not in linted) == []
    assert sorted(x for x in linted if not (ROOT / x).is_file()) == []


def test_the_image_that_lint_reads_is_the_one_that_projects_get() -> None:
    source = ROOT / "bessemer" / "deployment" / "files" / "Dockerfile"
    assert (ROOT / "docker" / "Dockerfile").read_bytes() == source.read_bytes()


def test_what_bandit_passes_over_is_explained() -> None:
    for file in (ROOT / "bessemer").rglob("*.py"):
        lines = file.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines):
            if "# nosec" in line:
                explained = lines[number - 1].lstrip().startswith("# ")
                assert re.search(r"# nosec B\d{3}($|  # \w)", line), f"{file}:{number + 1}"
                assert explained or not re.search(r"# nosec B\d{3}$", line), f"{file}:{number + 1}"


def test_nothing_known_is_a_success(tmp_path: Path) -> None:
    done = look_up(tmp_path, pypi=[package()])
    assert (done.returncode, done.stdout) == (0, "1 packages looked up, 0 known vulnerabilities\n")


def test_what_is_known_is_named_with_the_version_that_mends_it(tmp_path: Path) -> None:
    done = look_up(tmp_path, pypi=[package(vulns=[KNOWN]), package("other")])
    assert done.returncode == 1
    assert "thing 2.0: CVE-1, fixed in 2.1" in done.stdout


@pytest.mark.parametrize("name", ["CVE-1", "GHSA-1"])
def test_what_is_accepted_is_named_with_its_reason(tmp_path: Path, name: str) -> None:
    entry = f'{{id = "{name}", date = 2026-01-31, reason = "we never call it"}}'
    done = look_up(tmp_path, pypi=[package(vulns=[KNOWN])], accepted=entry)
    assert done.returncode == 0
    assert "thing 2.0: CVE-1, accepted: we never call it (2026-01-31)" in done.stdout


def test_what_is_accepted_and_gone_is_named(tmp_path: Path) -> None:
    entry = '{id = "CVE-9", date = 2026-01-31, reason = "we never call it"}'
    assert "CVE-9 is accepted, but not found" in look_up(tmp_path, pypi=[package()], accepted=entry).stdout


@pytest.mark.parametrize("entry", ['{id = "CVE-1", date = 2026-01-31}', '{id = "CVE-1", reason = "why"}'])
def test_nothing_is_accepted_without_reason_and_date(tmp_path: Path, entry: str) -> None:
    done = look_up(tmp_path, pypi=[package(vulns=[KNOWN])], accepted=entry)
    assert done.returncode == 2
    assert "needs id, date and reason" in done.stderr


def test_a_package_that_one_service_does_not_know_is_looked_up_at_the_other(tmp_path: Path) -> None:
    done = look_up(tmp_path, pypi=[skipped()], osv=[package(vulns=[KNOWN])])
    assert done.returncode == 1
    done = look_up(tmp_path, pypi=[skipped()], osv=[package()])
    assert done.returncode == 0


@pytest.mark.parametrize("osv", [None, []])
def test_what_could_not_be_looked_up_is_no_success(tmp_path: Path, osv: list[Any] | None) -> None:
    done = look_up(tmp_path, pypi=[package(), skipped("other")], osv=osv)
    assert done.returncode == 2
    assert "pypi: knows nothing of 1 of 2 packages (other)" in done.stderr
    assert "could not be looked up" in done.stderr


def test_no_program_is_no_success(tmp_path: Path) -> None:
    done = look_up(tmp_path, program=tmp_path / "missing")
    assert done.returncode == 2
    assert "does not run" in done.stderr


def is_linted(path: str) -> bool:
    file = ROOT / path
    if file.suffix in (".yaml", ".yml", ".sh") or file.name in (".yamllint", "Dockerfile"):
        return True
    with file.open("rb") as content:
        return re.match(rb"#!.*\b(ba|da|k|z)?sh\b", content.readline(200)) is not None


def output_of(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def package(name: str = "thing", **values: Any) -> dict[str, Any]:
    return {"name": name, "version": "2.0", "vulns": [], **values}


def skipped(name: str = "thing") -> dict[str, Any]:
    return {"name": name, "skip_reason": "Dependency not found"}


def look_up(
    folder: Path,
    pypi: list[Any] | None = None,
    osv: list[Any] | None = None,
    accepted: str = "",
    program: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the tool with a pip-audit that prints what services are to answer; None is no answer."""
    answers = {"pypi": pypi, "osv": osv}
    stub = folder / "pip-audit"
    stub.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        f"answer = json.loads({json.dumps(json.dumps(answers))})[sys.argv[sys.argv.index("
        '"--vulnerability-service") + 1]]\n'
        'print(json.dumps({"dependencies": answer})) if answer is not None else sys.exit("no answer")\n'
    )
    stub.chmod(0o755)
    settings = folder / "settings.toml"
    settings.write_text(f"[tool.bessemer.audit]\naccepted = [{accepted}]\n")
    command = [sys.executable, str(ROOT / "tools" / "vulnerabilities.py"), "--settings", str(settings)]
    command += ["--pip-audit", str(program or stub), str(folder / "requirements.lock")]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
