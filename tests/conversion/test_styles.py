"""Options of every style become settings: the program does the same, and its command line means them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from textwrap import dedent
from typing import Any

import libcst as cst
import pytest

from bessemer.config.research_arguments import research_values, split
from bessemer.conversion import sources
from bessemer.conversion.normal import Normal, normalize
from bessemer.conversion.normal.entries import pick_entry
from bessemer.conversion.script import take_apart
from bessemer.errors import ConversionError, SettingsError
from conversion.option_programs import OPTIONS, PROGRAMS, Styled

REFUSED = {
    "a group of click": (
        """
        import click
        @click.group()
        def cli():
            pass
        @cli.command()
        def train():
            pass
        cli()
        """,
        "main.py:2: click.group is no option",
    ),
    "a type of click's own": (
        """
        import click
        @click.command()
        @click.option("--out", type=click.File("w"))
        def main(out):
            pass
        main()
        """,
        "main.py:3: type=click.File",
    ),
    "a class for fire": (
        """
        import fire
        class Trainer:
            pass
        fire.Fire(Trainer)
        """,
        r"main.py:4: fire.Fire\(Trainer\) does not call one function",
    ),
    "a parameter that may be anything": (
        """
        import fire
        def main(x):
            pass
        fire.Fire(main)
        """,
        "main.py:2: the parameter x has no plain default and no plain type",
    ),
    "a function for tyro": (
        """
        import tyro
        def main(lr: float = 0.1):
            pass
        tyro.cli(main)
        """,
        r"main.py:4: tyro.cli\(main\) does not fill one dataclass",
    ),
    "a class for tyro that is made again": (
        """
        import tyro
        from dataclasses import dataclass
        @dataclass
        class Args:
            lr: float = 0.1
        args = tyro.cli(Args)
        other = Args()
        """,
        "main.py:6: Args is used in several places",
    ),
    "two commands of typer": (
        """
        import typer
        app = typer.Typer()
        @app.command()
        def one():
            pass
        @app.command()
        def two():
            pass
        app()
        """,
        "typer with 2 commands",
    ),
    "a list of absl": (
        """
        from absl import flags
        flags.DEFINE_list("sizes", ["1"], "some")
        """,
        "main.py:2: flags.DEFINE_list",
    ),
    "a command line that is changed": (
        """
        import sys
        def f():
            return sys.argv.pop(1)
        print(f(), sys.argv[1])
        """,
        r"main.py:3: sys.argv.pop: the command line is changed here",
    ),
    "a file that is executed": (
        """
        lr = 0.1
        exec(open("other.py").read())
        print(lr)
        """,
        "main.py:2: exec of other.py: what it sets cannot be said without running it",
    ),
}


def written(styled: Styled, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in styled.files.items():
        (folder / name).write_text(dedent(text).lstrip("\n"))
    return folder / "main.py"


def normal_form(folder: Path) -> Normal:
    read = sources.read(folder)
    return normalize(read, pick_entry(read, "main.py"))


def printed(script: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, script, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=script.parent,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def as_words(values: Mapping[str, Any]) -> list[str]:
    """Return settings as words for the parser of the normal form."""
    words: list[str] = []
    for name, value in values.items():
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        elif isinstance(value, list):
            words += [f"--{name}", *map(str, value)]
        else:
            words.append(f"--{name}={value}")
    return words


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_whose_options_are_settings_prints_what_it_printed(name: str, tmp_path: Path) -> None:
    styled = PROGRAMS[name]
    script = written(styled, tmp_path)
    normal = normal_form(tmp_path)
    alone = tmp_path / "alone.py"
    alone.write_text(f"{normal.module.code}\n{normal.entry}()\n")
    before = styled.prints
    if before is None:
        before = printed(script, *split(styled.words))
    elif styled.prints is not None:
        # The library is not here: that it is not needed any more is part of the promise.
        alone.write_text("".join(x for x in alone.read_text().splitlines(True) if not _imports_library(x)))
    assert printed(alone, *as_words(styled.values)) == before


def _imports_library(line: str) -> bool:
    return line.startswith(("import fire", "from absl", "import tyro"))


@pytest.mark.parametrize("name", OPTIONS)
def test_what_looks_like_an_option_is_one(name: str, tmp_path: Path) -> None:
    written(PROGRAMS[name], tmp_path)
    options = take_apart(normal_form(tmp_path), "main.py").options.options
    assert sorted(x.name for x in options) == sorted(OPTIONS[name])


@pytest.mark.parametrize("name", [name for name, styled in PROGRAMS.items() if styled.words])
def test_the_own_command_line_stands_for_settings(name: str, tmp_path: Path) -> None:
    styled = PROGRAMS[name]
    written(styled, tmp_path)
    options = take_apart(normal_form(tmp_path), "main.py").options.options
    (tmp_path / "conversion.json").write_text(json.dumps({"options": [asdict(x) for x in options]}))
    assert research_values(tmp_path, split(styled.words)) == styled.values


def test_a_constant_is_nothing_that_the_command_line_has(tmp_path: Path) -> None:
    written(PROGRAMS["constants"], tmp_path)
    options = take_apart(normal_form(tmp_path), "main.py").options.options
    (tmp_path / "conversion.json").write_text(json.dumps({"options": [asdict(x) for x in options]}))
    assert research_values(tmp_path, ()) == {}
    with pytest.raises(SettingsError, match="no option '--LR'"):
        research_values(tmp_path, ("--LR", "3"))


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_option_stands_where_it_was_written(name: str, tmp_path: Path) -> None:
    styled = PROGRAMS[name]
    written(styled, tmp_path)
    normal = normal_form(tmp_path)
    for option in take_apart(normal, "main.py").options.options:
        path, _, line = option.where.rpartition(":")
        restated = normal.restated.get(option.name)
        if restated is not None:
            lines = (tmp_path / path).read_text().splitlines()
            first = next(x for x in restated.code.splitlines() if not x.startswith("#"))
            assert any(first in x for x in lines[int(line) - 1 : int(line) + 1])


def test_comments_are_help_texts(tmp_path: Path) -> None:
    written(PROGRAMS["constants"], tmp_path)
    options = take_apart(normal_form(tmp_path), "main.py").options.options
    help_of = {x.name: x.description for x in options}
    assert help_of["LR"] == "how fast"
    assert help_of["DATA_DIR"] == "where it is"
    assert help_of["BATCH_SIZE"] == "the constant BATCH_SIZE of the research code"


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_a_setting_is_refused_with_its_place(name: str, tmp_path: Path) -> None:
    code, reason = REFUSED[name]
    (tmp_path / "main.py").write_text(dedent(code).lstrip("\n"))
    with pytest.raises(ConversionError, match=reason):
        normal_form(tmp_path)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("config = yaml.safe_load(open('missing.yaml'))", "there is no such file in the folder"),
        ("config = yaml.safe_load(open('../outside.yaml'))", "there is no such file in the folder"),
        ("config = yaml.safe_load(open('list.yaml'))", "it does not hold plain values by name"),
        ("config = yaml.safe_load(open('broken.yaml'))", "it cannot be read"),
        ("config = yaml.safe_load(open(name))", "its name is not written here"),
    ],
)
def test_why_a_file_is_no_setting_is_said(code: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "outside.yaml").write_text("lr: 1\n")
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "list.yaml").write_text("- 1\n")
    (folder / "broken.yaml").write_text("a: [\n")
    (folder / "main.py").write_text(f"import yaml\nname = str()\n{code}\nprint(config)\n")
    (question,) = normal_form(folder).questions
    assert question.where == "main.py:3"
    assert reason in question.reason


def test_a_definition_does_not_lose_its_place_for_a_constant(tmp_path: Path) -> None:
    written(PROGRAMS["constants that a definition needs when it is made"], tmp_path)
    normal = normal_form(tmp_path)
    assert normal.nested == ()
    tops = {x.name.value for x in normal.module.body if isinstance(x, cst.FunctionDef)}
    assert {"f", "key"} <= tops
