"""The normal form does what the program did: each is run, and what they print is compared."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import libcst as cst
import pytest

from bessemer.conversion import sources
from bessemer.conversion.normal import Normal, normalize
from bessemer.conversion.normal.entries import pick_entry
from bessemer.conversion.syntax import code_of, every
from bessemer.errors import ConversionError, SourceError
from conversion.normal_programs import PROGRAMS


def written(files: dict[str, str], folder: Path) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip("\n"))
    return folder / next(iter(files))


def normal_form(folder: Path, entry: str) -> Normal:
    read = sources.read(folder)
    return normalize(read, pick_entry(read, entry))


def printed(script: Path) -> str:
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=60, check=False, cwd=script.parent
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_normal_form_prints_what_the_program_printed(name: str, tmp_path: Path) -> None:
    script = written(PROGRAMS[name], tmp_path / "source")
    entry = next(iter(PROGRAMS[name]))
    normal = normal_form(tmp_path / "source", entry)
    alone = tmp_path / "alone" / "program.py"
    alone.parent.mkdir()
    alone.write_text(f"{normal.module.code}\n{normal.entry}()\n")
    assert printed(alone) == printed(script)


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_normal_form_runs_nothing_at_module_level(name: str, tmp_path: Path) -> None:
    written(PROGRAMS[name], tmp_path)
    module = normal_form(tmp_path, next(iter(PROGRAMS[name]))).module
    for statement in module.body:
        # What a handler says of an import that fails is not run where nothing fails.
        runs = statement.body if isinstance(statement, cst.Try) else statement
        text = module.code_for_node(runs).strip()
        is_plain = isinstance(statement, cst.FunctionDef | cst.ClassDef | cst.SimpleStatementLine | cst.Try)
        assert is_plain, text
        assert "print(" not in text or isinstance(statement, cst.FunctionDef | cst.ClassDef), text


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_statement_knows_where_it_stood(name: str, tmp_path: Path) -> None:
    written(PROGRAMS[name], tmp_path)
    normal = normal_form(tmp_path, next(iter(PROGRAMS[name])))
    options = {y for x in normal.module.body if ".add_argument(" in code_of(x) for y in every(x)}
    for node in every(normal.module):
        if (
            isinstance(node, cst.Integer | cst.SimpleString)
            and node not in options
            and node.value != '"main"'
        ):
            path, _, line = (normal.places.of(node) or "").rpartition(":")
            assert node.value in (tmp_path / path).read_text().splitlines()[int(line) - 1]


def test_what_is_handed_over_is_in_the_order_in_which_it_is_read(tmp_path: Path) -> None:
    written(
        {"main.py": 'def f():\n    return zeta, alpha, mid\nalpha = mid = zeta = len("a")\nprint(f())\n'},
        tmp_path,
    )
    assert "def f(zeta, alpha, mid):" in normal_form(tmp_path, "main.py").module.code


def test_an_import_with_another_way_stays_at_module_level(tmp_path: Path) -> None:
    written(PROGRAMS["an import inside of a function, and one that may fail"], tmp_path)
    body = normal_form(tmp_path, "main.py").module.body
    assert any(isinstance(statement, cst.Try) for statement in body)


def test_imports_that_say_that_they_fail_stay_at_module_level(tmp_path: Path) -> None:
    written(PROGRAMS["imports that say that they fail"], tmp_path)
    body = normal_form(tmp_path, "main.py").module.body
    tried = [code_of(statement) for statement in body if isinstance(statement, cst.Try)]
    assert ["math" in x or "json" in x for x in tried] == [True] * 2


def test_an_import_in_two_spellings_keeps_its_name(tmp_path: Path) -> None:
    written(PROGRAMS["one import in two spellings"], tmp_path)
    assert "part_path" not in normal_form(tmp_path, "main.py").module.code


def test_the_reason_why_a_function_stays_inside_is_kept(tmp_path: Path) -> None:
    written(PROGRAMS["a function that is a value"], tmp_path)
    (nested,) = normal_form(tmp_path, "main.py").nested
    assert (nested.name, nested.where) == ("key", "main.py:1")
    assert "used as a value" in nested.reason


def test_an_object_that_is_no_module_keeps_values_of_any_kind(tmp_path: Path) -> None:
    written(PROGRAMS["a class of any kind of object that reads what nobody can follow"], tmp_path)
    normal = normal_form(tmp_path, "main.py")
    assert not normal.nested
    assert normal.handed["Agent"] == ("table", "rows")


def test_the_script_that_trains_is_found_among_several(tmp_path: Path) -> None:
    files = {
        "main.py": "import net\nloss.backward()\n",
        "net.py": "x = 1\n",
        "show.py": "import net\nprint(net.x)\n",
    }
    written(files, tmp_path)
    assert pick_entry(sources.read(tmp_path)).path == "main.py"
    (tmp_path / "other.py").write_text("loss.backward()\n")
    with pytest.raises(SourceError, match=r"several entry points: main.py, other.py"):
        pick_entry(sources.read(tmp_path))
    assert pick_entry(sources.read(tmp_path), "other").path == "other.py"
    with pytest.raises(SourceError, match="there is no script third"):
        pick_entry(sources.read(tmp_path), "third")


def test_a_module_and_a_variable_of_one_name_in_a_function_are_refused(tmp_path: Path) -> None:
    files = {
        "main.py": "import model\ndef f():\n    return model.x\nmodel = model.x\nprint(f())\n",
        "model.py": "x = 1\n",
    }
    written(files, tmp_path)
    with pytest.raises(ConversionError, match="model is a local module, and a variable as well"):
        normal_form(tmp_path, "main.py")


def test_a_file_that_asks_for_its_own_name_is_told_the_one_it_had(tmp_path: Path) -> None:
    program = {
        "main.py": """
            import os.path
            from pathlib import Path
            import part
            def name(__file__):
                return os.path.basename(__file__)
            print(os.path.basename(__file__)[: -len(".py")], Path(__file__).name, name("a/b"), part.STEM)
            """,
        "part.py": """
            import pathlib
            STEM = pathlib.Path(__file__).stem
            """,
    }
    written(program, tmp_path)
    normal = normal_form(tmp_path, "main.py")
    (tmp_path / "alone.py").write_text(f"{normal.module.code}\n{normal.entry}()\n")
    assert printed(tmp_path / "alone.py") == printed(tmp_path / "main.py") == "main main.py b part\n"


@pytest.mark.parametrize(
    ("name", "stays"),
    [
        ("defaults that are variables", {"outer"}),
        ("imports that are made again, and in vain", {"sqrt", "root"}),
    ],
)
def test_functions_that_could_be_called_from_anywhere_stay_outside(
    name: str, stays: set[str], tmp_path: Path
) -> None:
    written(PROGRAMS[name], tmp_path)
    module = normal_form(tmp_path, "main.py").module
    assert stays <= {x.name.value for x in module.body if isinstance(x, cst.FunctionDef)}
