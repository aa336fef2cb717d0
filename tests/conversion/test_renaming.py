"""The converter knows PyTorch and no program: other names, the same project."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import libcst as cst

from bessemer.conversion import convert
from bessemer.conversion.program import understand
from bessemer.conversion.roles import ROOMS
from bessemer.conversion.syntax import walk
from conversion.converted_projects import DIGITS, Project

KEPT = {"__init__", "__call__", "__len__", "__getitem__", "forward", "self", "super"}


def renamed(code: str) -> tuple[str, dict[str, str]]:
    """Give every function, class, variable, parameter and option of a program another name."""
    program = understand(cst.parse_module(code), "train.py")
    own = {
        name.value
        for name in walk(program.module, cst.Name)
        if program.is_store(name) and name.value not in KEPT
    }
    own |= {x.name.value for x in walk(program.module, cst.FunctionDef)} - KEPT
    imports = walk(program.module, cst.Import, cst.ImportFrom)
    bound = {x.value for node in imports for x in walk(node, cst.Name)}
    options = re.findall(r'"--([a-z-]+)"', code)
    own |= {option.replace("-", "_") for option in options}
    names = {name: f"q{i}_{name[::-1]}" for i, name in enumerate(sorted(own - bound))}

    class Renamer(cst.CSTTransformer):
        def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.Name:
            parent = program.parent(original_node)
            attribute = isinstance(parent, cst.Attribute) and parent.attr is original_node
            foreign = attribute and isinstance(parent, cst.Attribute) and not owned(parent)
            keyword = isinstance(parent, cst.Arg) and parent.keyword is original_node
            call = program.parent(parent) if keyword else None
            of_library = isinstance(call, cst.Call) and program.defined(call.func) is None
            if foreign or of_library:
                return updated_node
            return updated_node.with_changes(value=names.get(updated_node.value, updated_node.value))

        def leave_SimpleString(
            self, original_node: cst.SimpleString, updated_node: cst.SimpleString
        ) -> cst.SimpleString:
            text = str(updated_node.evaluated_value)
            option = text.removeprefix("--").replace("-", "_")
            if not text.startswith("--"):
                return updated_node
            return cst.SimpleString(f'"--{names[option].replace("_", "-")}"')

    def owned(node: cst.Attribute) -> bool:
        base = node.value
        return isinstance(base, cst.Name) and base.value in ("self", "args")

    return program.module.visit(Renamer()).code, names


def shape(project: Project, room: str, names: dict[str, str]) -> str:
    """The code of a room with the program's own names taken back."""
    code = project.room(room)
    for old, new in names.items():
        code = re.sub(rf"\b{new}\b", old, code)
        code = code.replace(f"--{new.replace('_', '-')}", f"--{old.replace('_', '-')}")
    tree = ast.parse(code.replace(f"from {project.package.name}.", "from package."))
    imports = [x for x in tree.body if isinstance(x, ast.ImportFrom | ast.Import)]
    rest = [ast.unparse(x) for x in tree.body if x not in imports]
    bound = sorted(alias.asname or alias.name for node in imports for alias in node.names)
    return "\n".join([*bound, *rest])


def test_a_program_with_other_names_becomes_the_same_project(digits: Project, tmp_path: Path) -> None:
    code, names = renamed((DIGITS / "train.py").read_text())
    assert "def main" not in code
    assert "class Net" not in code
    assert "train_loader" not in code
    compile(code, "renamed.py", "exec")
    (tmp_path / "script.py").write_text(code)
    other = Project(convert(tmp_path / "script.py", tmp_path / "out"))
    for room in ("config/settings", *ROOMS):
        ours = shape(digits, room, {})
        theirs = shape(other, room, names)
        # Metrics are named after the printed words, and the phase after the function or the text.
        assert theirs == ours, room
