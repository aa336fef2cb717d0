"""What a script is called by its own `__file__`: `os.path.basename(__file__)` becomes the name it had.

In a project its lines stand in other files, and a run that is named after its script would be called
otherwise.
"""

from __future__ import annotations

from pathlib import PurePosixPath

import libcst as cst

from bessemer.conversion.normal.places import Places, Tracer
from bessemer.conversion.program import Program, understand
from bessemer.conversion.syntax import walk

_BASENAMES = ("os.path.basename", "posixpath.basename")


def with_own_name(module: cst.Module, path: str, places: Places) -> cst.Module:
    """Write out the name of a file where it asks for it.

    Args:
        module: the file.
        path: where it lies.
        places: where its nodes stand.
    """
    if not any(x.value == "__file__" for x in walk(module, cst.Name)):
        return module
    program, own = understand(module, path, is_fresh=True), PurePosixPath(path)
    asked = ((node, _asked(program, node, own)) for node in walk(module, cst.Call, cst.Attribute))
    names = {node: name for node, name in asked if name is not None}
    if not names:
        return module
    changed = module.visit(_Named(places, names))
    assert isinstance(changed, cst.Module)
    return changed


class _Named(Tracer):
    def __init__(self, places: Places, names: dict[cst.Call | cst.Attribute, str]) -> None:
        super().__init__(places)
        self.names = names

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        return self._name(original_node, updated_node)

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.BaseExpression:
        return self._name(original_node, updated_node)

    def _name(
        self, original: cst.Call | cst.Attribute, updated: cst.Call | cst.Attribute
    ) -> cst.BaseExpression:
        name = self.names.get(original)
        return updated if name is None else cst.SimpleString(repr(name))


def _asked(program: Program, node: cst.Call | cst.Attribute, own: PurePosixPath) -> str | None:
    if isinstance(node, cst.Call):
        return own.name if program.imported(node.func) in _BASENAMES and _is_own(program, node) else None
    made = node.value
    if (
        isinstance(made, cst.Call)
        and program.imported(made.func) == "pathlib.Path"
        and _is_own(program, made)
    ):
        return {"name": own.name, "stem": own.stem}.get(node.attr.value)
    return None


def _is_own(program: Program, call: cst.Call) -> bool:
    value = call.args[0].value if len(call.args) == 1 else None
    return isinstance(value, cst.Name) and value.value == "__file__" and not program.bindings(value)
