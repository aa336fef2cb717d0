"""What of a project travels, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from bessemer.errors import ProjectError
from bessemer.remote.packing import files_of, pack


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for name in ("net/model.py", "settings.toml", "wheels/x.whl", "runs/r/state.pt", ".venv/bin/python"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    for name in ("docker/secrets/ray_token", ".env", "net/__pycache__/model.pyc", ".git/config"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("secret")
    return root


def names(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in files_of(root)]


def test_code_settings_and_wheels_travel_and_nothing_else(project: Path) -> None:
    assert names(project) == ["settings.toml", "net/model.py", "wheels/x.whl"]


def test_a_module_may_have_the_name_of_a_folder_that_stays_here(project: Path) -> None:
    for name in ("net/dist/reduce.py", "net/build/layers.py", "dist/net.whl", "net/secrets/key.txt"):
        (project / name).parent.mkdir(parents=True)
        (project / name).write_text(name)
    assert {x for x in names(project) if x.startswith("net/")} == {
        "net/build/layers.py",
        "net/dist/reduce.py",
        "net/model.py",
    }
    assert "dist/net.whl" not in names(project)


def test_what_is_packed_is_what_was_there(project: Path, tmp_path: Path) -> None:
    size = pack(project, tmp_path / "packed")
    assert names(tmp_path / "packed") == names(project)
    assert (tmp_path / "packed" / "net" / "model.py").read_text() == "net/model.py"
    assert size == sum(path.stat().st_size for path in files_of(project))


def test_a_link_that_leads_out_of_the_project_stays(project: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text("mine")
    (project / "net" / "outside.txt").symlink_to(tmp_path / "outside.txt")
    (project / "net" / "inside.toml").symlink_to(project / "settings.toml")
    assert "net/outside.txt" not in names(project)
    assert "net/inside.toml" in names(project)


def test_too_much_is_refused_with_the_largest_before_a_copy_is_made(project: Path, tmp_path: Path) -> None:
    (project / "net" / "weights.bin").write_bytes(b"0" * 2**20)
    with pytest.raises(ProjectError, match=r"net/weights\.bin 1 MiB"):
        pack(project, tmp_path / "packed", max_bytes=2**19)
    assert not (tmp_path / "packed").exists()
