"""A YAML or JSON file that a program reads its configuration from: what is in it becomes options.

Only a file that the program names itself, that lies in the folder of the research code, and that holds plain
values by name. One that is named on the command line is read at run time, as before.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libcst as cst

from bessemer.conversion.styles.constants import constant, places
from bessemer.conversion.styles.leaves import Leaf, leaves_of_dict, named
from bessemer.conversion.styles.objects import looks_like_options, read_by_key
from bessemer.conversion.styles.setting import Setting
from bessemer.conversion.styles.view import View
from bessemer.conversion.syntax import literal_text, statements

_YAML = frozenset({"yaml.safe_load", "yaml.load", "yaml.full_load"})
_JSON = frozenset({"json.load", "json.loads"})
_MAX_BYTES = 100_000


def find_files(view: View, root: Path) -> None:
    """Make options of the files that a program reads its configuration from.

    Args:
        view: the program.
        root: the folder of the research code.
    """
    for statement in list(places(view)):
        for inner, handle in _inside(statement):
            found = constant(inner)
            call = found[1] if found is not None else None
            if found is None or not isinstance(call, cst.Call):
                continue
            target = found[0]
            reader = view.program.imported(call.func) or ""
            if reader not in _YAML | _JSON or not call.args or not view.can_read(statement):
                continue
            path = _path(view, call.args[0].value, handle)
            if path is None and not looks_like_options(target.value):
                continue  # it may be any data
            if path is None:
                view.remark(
                    call,
                    "what is in the file is no setting: its name is not written here",
                    "nothing; or write the name of the file as a literal",
                )
                continue
            values = _values(root, path, reader in _YAML)
            is_config = looks_like_options(target.value) or looks_like_options(Path(path).stem)
            if not is_config:
                continue
            if isinstance(values, str):
                view.remark(
                    call,
                    f"what is in {path} is no setting: {values}",
                    "nothing; it is read when the project runs",
                )
                continue
            _restate(view, statement, target, call, path, values)


def _inside(
    statement: cst.BaseStatement,
) -> Iterator[tuple[cst.BaseStatement, tuple[str, cst.BaseExpression] | None]]:
    """Yield a statement, or the only one of a `with`, together with the file that is open there."""
    if not isinstance(statement, cst.With):
        yield statement, None
        return
    body = statements(statement.body)
    item = statement.items[0]
    if (
        len(body) == len(statement.items) == 1
        and item.asname is not None
        and isinstance(item.asname.name, cst.Name)
    ):
        yield body[0], (item.asname.name.value, item.item)


def _path(view: View, node: cst.BaseExpression, handle: tuple[str, cst.BaseExpression] | None) -> str | None:
    """Return the literal name of the file that an expression reads or has open."""
    if isinstance(node, cst.Name):
        return _path(view, handle[1], None) if handle is not None and handle[0] == node.value else None
    if not isinstance(node, cst.Call):
        return None
    if view.program.imported(node.func) in ("builtins.open", "pathlib.Path") and node.args:
        return literal_text(node.args[0].value)
    reads = isinstance(node.func, cst.Attribute) and node.func.attr.value in ("read", "read_text", "open")
    return _path(view, node.func.value, handle) if reads and isinstance(node.func, cst.Attribute) else None


def _values(root: Path, path: str, is_yaml: bool) -> dict[str, Any] | str:
    """Return what a file holds, or why that cannot be said."""
    file = (root / path).resolve()
    if not file.is_relative_to(root.resolve()) or not file.is_file():
        return "there is no such file in the folder of the research code"
    if file.stat().st_size > _MAX_BYTES:
        return f"it is larger than {_MAX_BYTES} bytes"
    try:
        text = file.read_text(encoding="utf-8")
        values = _yaml(text) if is_yaml else json.loads(text)
    except (ValueError, UnicodeDecodeError) as error:
        return f"it cannot be read: {str(error).splitlines()[0]}"
    if not isinstance(values, dict) or not _is_plain(values):
        return "it does not hold plain values by name"
    return values


def _yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _is_plain(value: object) -> bool:
    match value:
        case dict():
            return all(isinstance(x, str) and _is_plain(y) for x, y in value.items())
        case list():
            return all(map(_is_plain, value))
        case float():
            return math.isfinite(value)
    return value is None or isinstance(value, bool | int | str)


def _restate(
    view: View,
    statement: cst.BaseStatement,
    target: cst.Name,
    call: cst.Call,
    path: str,
    values: dict[str, Any],
) -> None:
    literal = cst.ensure_type(cst.parse_expression(repr(values)), cst.Dict)
    names = named(list(leaves_of_dict(literal)), target.value, view.taken())
    if not names:
        return
    note = f"is what {path} said when it was converted; the file is not read any more"
    for each, name in names.items():
        many = isinstance(each.value, cst.Tuple)
        view.add(
            Setting(
                name,
                each.kind,
                view.program.code(each.value),
                f"{'.'.join(each.path)} of {path}",
                statement,
                view.program.code(statement),
                nargs="+" if many else "",
                notes=(note,),
            )
        )
    reads = read_by_key(view, target, literal, names)
    if reads is not None:
        view.edits.removed.add(statement)
        view.edits.replaced.update(reads)
        return
    made = literal.visit(_Filled(view, names))
    assert isinstance(made, cst.Dict)
    line = cst.SimpleStatementLine([cst.Assign([cst.AssignTarget(cst.Name(target.value))], made)])
    view.edits.replaced[statement] = line.with_changes(leading_lines=getattr(statement, "leading_lines", ()))


class _Filled(cst.CSTTransformer):
    """Puts options in the place of the values of a literal."""

    def __init__(self, view: View, names: dict[Leaf, str]) -> None:
        super().__init__()
        self.view = view
        self.names = {id(x.value): name for x, name in names.items()}

    def on_leave(self, original_node: cst.CSTNode, updated_node: cst.CSTNode) -> cst.CSTNode:  # type: ignore[override]
        name = self.names.get(id(original_node))
        return self.view.read(name) if name is not None else updated_node
