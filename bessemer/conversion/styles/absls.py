"""Flags of absl: `flags.DEFINE_float("lr", 0.1, "help")`, read from `flags.FLAGS`, and `app.run(main)`."""

from __future__ import annotations

import libcst as cst

from bessemer.conversion.option import Spelling
from bessemer.conversion.styles.parameters import only_named
from bessemer.conversion.styles.setting import Setting
from bessemer.conversion.styles.view import View
from bessemer.conversion.syntax import argument, assigned, literal_text, parameters, small, statements, walk
from bessemer.errors import ConversionError

_KINDS = {
    "DEFINE_integer": "int",
    "DEFINE_float": "float",
    "DEFINE_string": "str",
    "DEFINE_enum": "str",
    "DEFINE_bool": "bool",
    "DEFINE_boolean": "bool",
}
_KNOWN = frozenset(
    {"name", "default", "help", "enum_values", "lower_bound", "upper_bound", "short_name", "required"}
)
_HINT = "use DEFINE_integer, _float, _bool, _string, _enum with literals, FLAGS = flags.FLAGS, app.run(main)"


def find_absl(view: View) -> None:
    """Make options of the flags of absl.

    Raises:
        ConversionError: absl is used in a way that settings cannot take over.
    """
    program = view.program
    defined = [
        x for x in walk(program.module, cst.Call) if _name(view, x.func).startswith("absl.flags.DEFINE")
    ]
    started = [x for x in walk(program.module, cst.Call) if _name(view, x.func) == "absl.app.run"]
    if not defined and not started:
        return
    lines = list(view.lines())
    for call in defined:
        _define(view, call, lines)
    for node in walk(program.module, cst.Attribute, cst.Name):
        if _name(view, node) == "absl.flags.FLAGS" and program.contexts.get(node) is not None:
            _flags(view, node, lines)
    if len(started) > 1 or (started and program.statement(started[0]) not in lines):
        raise view.refuse(started[-1], "app.run that is not called once, at module level", _HINT)
    for call in started:
        _start(view, call)


def _name(view: View, node: cst.CSTNode) -> str:
    return view.program.imported(node) or ""


def _define(view: View, call: cst.Call, lines: list[cst.BaseStatement]) -> None:
    program = view.program
    statement = program.statement(call)
    kind = _KINDS.get(_name(view, call.func).rpartition(".")[2])
    name = literal_text(argument(call, "name", 0))
    is_enum = _name(view, call.func).endswith("DEFINE_enum")
    default = argument(call, "default", 1)
    text = literal_text(argument(call, "help", 3 if is_enum else 2))
    given = {x.keyword.value for x in call.args if x.keyword is not None}
    if kind is None or name is None or default is None or given - _KNOWN or statement not in lines:
        raise _refuse(view, call)
    short = literal_text(argument(call, "short_name"))
    flags = [f"--{name}", f"-{name}", *([f"-{short}"] if short else [])]
    off = (f"--no{name}", f"-no{name}") if kind == "bool" else ()
    required = _is(argument(call, "required"), "True")
    choices = argument(call, "enum_values", 2) if is_enum else None
    action = "switch" if kind == "bool" else "store"
    spelt = "truth" if kind == "bool" else kind
    view.add(
        Setting(
            name,
            kind,
            None if required else program.code(default),
            " ".join((text or f"flag --{name}").split()),
            statement,
            program.code(call),
            Spelling(tuple(flags), action, spelt, None, (), required, off),
            program.code(choices) if choices is not None else "",
        )
    )
    pair = assigned(statement)
    if pair is not None and pair[1] is call and len(pair[0]) == 1 and isinstance(pair[0][0], cst.Name):
        _held(view, pair[0][0], name)
    elif not (isinstance(inner := small(statement), cst.Expr) and inner.value is call):
        raise _refuse(view, call)
    view.edits.removed.add(statement)


def _held(view: View, target: cst.Name, name: str) -> None:
    """Follow a flag that is held in a variable and read as `variable.value`."""
    for use in view.reads(target) or ():
        outer = view.program.parent(use)
        if not (isinstance(outer, cst.Attribute) and outer.attr.value == "value"):
            raise view.refuse(use, f"{target.value} is used otherwise than as {target.value}.value", _HINT)
        view.edits.replaced[outer] = view.read(name)


def _flags(view: View, node: cst.Attribute | cst.Name, lines: list[cst.BaseStatement]) -> None:
    """Read the options where the flags were read."""
    program = view.program
    statement = program.statement(node)
    pair = assigned(statement)
    if pair is not None and pair[1] is node and isinstance(pair[0][0], cst.Name) and statement in lines:
        for use in view.reads(pair[0][0]) or ():
            _read(view, use)
        view.edits.removed.add(statement)
        return
    if isinstance(small(statement), cst.ImportFrom):
        return
    _read(view, node)


def _read(view: View, node: cst.Attribute | cst.Name) -> None:
    outer = view.program.parent(node)
    if isinstance(outer, cst.Attribute) and not view.program.is_load(outer):
        raise view.refuse(outer, f"{view.program.code(outer)} is set", "use a variable")
    if isinstance(outer, cst.Attribute) and outer.attr.value in ("flag_values_dict", "flags_into_string"):
        raise view.refuse(outer, f"{view.program.code(outer)} reads all flags at once", _HINT)
    view.edits.replaced[node] = cst.Name(view.name)


def _start(view: View, call: cst.Call) -> None:
    """Call the function that `app.run` calls."""
    function = view.function(call.args[0].value) if len(call.args) == 1 else None
    given = parameters(function) if function is not None else ()
    if function is None or len(given) > 1 or function.decorators:
        raise view.refuse(call, f"{view.program.code(call)} does not call a function of the program", _HINT)
    only_named(view, function, [cst.ensure_type(call.args[0].value, cst.Name)])
    for param in given:
        for use in view.named(param.name.value):
            if use is param.name or param not in view.program.bindings(use):
                continue
            statement = view.program.statement(use)
            if not isinstance(small(statement), cst.Del) and not _checks_arguments(statement):
                raise view.refuse(use, f"{use.value}, what is left of the command line, is used", _HINT)
            view.edits.removed.add(statement)
    view.edits.replaced[function.params] = cst.Parameters()
    start = view.program.statement(call)
    line = cst.SimpleStatementLine(
        [cst.Expr(cst.Call(cst.Name(function.name.value)))],
        leading_lines=getattr(start, "leading_lines", ()),
    )
    view.edits.replaced[start] = line
    view.started = function


def _checks_arguments(statement: cst.BaseStatement) -> bool:
    """Tell whether a statement only refuses arguments that are left over."""
    body = statements(statement.body) if isinstance(statement, cst.If) and statement.orelse is None else ()
    return len(body) == 1 and isinstance(small(body[0]), cst.Raise)


def _is(node: cst.BaseExpression | None, word: str) -> bool:
    return isinstance(node, cst.Name) and node.value == word


def _refuse(view: View, call: cst.Call) -> ConversionError:
    return view.refuse(call, f"{view.program.code(call)} cannot become a setting", _HINT)
