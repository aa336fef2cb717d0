"""Plain `sys.argv`: `epochs = int(sys.argv[1])`, also with a default for when it is not there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import libcst as cst
from libcst import matchers as m

from bessemer.conversion.option import Spelling
from bessemer.conversion.styles.constants import constant, places
from bessemer.conversion.styles.setting import Setting, comment_on, kind_of
from bessemer.conversion.styles.view import View
from bessemer.conversion.syntax import assigned, fresh_name, statements, walk

_KINDS = {"builtins.int": "int", "builtins.float": "float", "builtins.str": "str"}
_HINT = "give each argument a name at the top of the program, as in epochs = int(sys.argv[1])"


@dataclass(frozen=True, eq=False)
class _Argument:
    """One argument: at which place it is given, what names it, and the setting that takes its place."""

    number: int
    target: cst.Name
    setting: Setting


def find_argv(view: View) -> None:
    """Make options of the arguments that a program reads from `sys.argv`.

    Where they cannot be told apart, one setting is the whole command line, for the program to read.

    Raises:
        ConversionError: it changes `sys.argv`.
    """
    program = view.program
    uses = [x for x in walk(program.module, cst.Attribute, cst.Name) if _is_argv(view, x)]
    taken = [
        x for x in uses if isinstance(program.parent(x), cst.Subscript) and not _is_program_name(view, x)
    ]
    if not taken or view.has_parser:
        return
    arguments: list[_Argument] = []
    stops: list[cst.BaseStatement] = []
    done: set[cst.CSTNode] = set()
    for statement in list(places(view)):
        inside = [x for x in uses if program.statement(x) is statement or _holds(view, statement, x)]
        if inside and _stops(statement) and not any(assigned(x) for x in _block(statement)):
            stops.append(statement)  # the settings say what is missing
        elif inside and (read := _read(view, statement, inside)) is not None:
            arguments.append(read)
        else:
            continue
        done.update(inside)
    named = {x.number: x for x in arguments}
    is_all = all(x in done or _is_program_name(view, x) for x in uses)
    if not is_all or len(named) < len(arguments) or sorted(named) != list(range(1, len(named) + 1)):
        _take_whole(view, [x for x in uses if not _is_program_name(view, x)])
        return
    view.edits.removed.update(stops)
    for number in sorted(named):
        _replace(view, named[number])
        view.add(named[number].setting)


def _take_whole(view: View, uses: Sequence[cst.Attribute | cst.Name]) -> None:
    """Make one setting of the whole command line."""
    program = view.program
    for use in uses:
        outer = program.parent(use)
        is_target = isinstance(outer, cst.Subscript) and program.is_store(outer.value)
        if program.is_store(use) or is_target or isinstance(outer, cst.Attribute | cst.Del):
            raise view.refuse(use, f"{program.code(outer)}: the command line is changed here", _HINT)
    setting = Setting(
        fresh_name(("arguments", "command_line"), view.taken()),
        "str",
        "()",
        "the command line of the research code, which reads it itself",
        uses[0],
        program.code(uses[0]),
        Spelling(("arguments",), "store", "str", "...", (), False),
        nargs="*",
    )
    for use in uses:
        words = cst.parse_expression(f'["main", *{view.name}.{setting.name}]')
        view.edits.replaced[use] = words
    view.add(setting)
    view.remark(
        uses[0],
        f"arguments are read here as texts; {setting.name} in the settings is the whole command line",
        _HINT,
    )


def _is_argv(view: View, node: cst.CSTNode) -> bool:
    return view.program.imported(node) == "sys.argv" and view.program.contexts.get(node) is not None


def _holds(view: View, statement: cst.BaseStatement, node: cst.CSTNode) -> bool:
    return statement in view.program.ancestors(node)


def _is_program_name(view: View, node: cst.CSTNode) -> bool:
    return m.matches(view.program.parent(node), _argument(0))


def _argument(number: int | None = None) -> m.Subscript:
    index = m.Integer() if number is None else m.Integer(str(number))
    return m.Subscript(slice=[m.SubscriptElement(m.Index(index))])


def _read(view: View, statement: cst.BaseStatement, inside: Sequence[cst.CSTNode]) -> _Argument | None:
    """Read `name = int(sys.argv[1])`, alone or with `if len(sys.argv) > 1 else default`."""
    found = constant(statement)
    default: cst.BaseExpression | None = None
    if found is None and isinstance(statement, cst.If) and (both := _branches(statement)) is not None:
        found, default = both
    if found is None:
        return None
    target, value = found
    if isinstance(found[1], cst.IfExp) and default is None:
        value, default = found[1].body, found[1].orelse
    kind, number = "str", _number(view, value)
    if isinstance(value, cst.Call) and len(value.args) == 1:
        kind = _KINDS.get(view.program.imported(value.func) or "", "")
        number = _number(view, value.args[0].value)
    literal = default is None or kind_of(default) is not None
    # One use is the argument, the other asks whether it is there.
    if not number or not kind or not literal or len(inside) > (1 if default is None else 2):
        return None
    setting = Setting(
        target.value,
        kind,
        view.program.code(default) if default is not None else None,
        comment_on(statement) or f"argument {number} of the command line",
        statement,
        view.program.code(statement),
        Spelling((target.value,), "store", kind, "?" if default is not None else None, (), default is None),
    )
    return _Argument(number, target, setting)


def _replace(view: View, argument: _Argument) -> None:
    """Read the setting where the variable is read, or else make the variable from it."""
    statement, name = view.program.statement(argument.setting.at), argument.setting.name
    reads = view.reads(argument.target)
    if reads and not view.reflects():
        view.edits.removed.add(statement)
        for use in reads:
            view.edits.replaced[use] = view.read(name)
        return
    view.edits.replaced[statement] = cst.SimpleStatementLine(
        [cst.Assign([cst.AssignTarget(cst.Name(argument.target.value))], view.read(name))],
        leading_lines=getattr(statement, "leading_lines", ()),
    )


def _number(view: View, node: cst.CSTNode) -> int:
    """Return which argument `sys.argv[n]` is; 0 for anything else."""
    if isinstance(node, cst.Subscript) and _is_argv(view, node.value) and m.matches(node, _argument()):
        index = cst.ensure_type(node.slice[0].slice, cst.Index).value
        return int(cst.ensure_type(index, cst.Integer).value)
    return 0


def _block(statement: cst.BaseStatement) -> list[cst.BaseStatement]:
    return list(statements(statement.body)) if isinstance(statement, cst.If) else []


def _branches(
    statement: cst.If,
) -> tuple[tuple[cst.Name, cst.BaseExpression], cst.BaseExpression] | None:
    """Read `if len(sys.argv) > 1: x = ... else: x = default`."""
    other = list(statements(statement.orelse.body)) if isinstance(statement.orelse, cst.Else) else []
    body = _block(statement)
    if len(body) != 1 or len(other) != 1:
        return None
    first, second = constant(body[0]), constant(other[0])
    if first is None or second is None or first[0].value != second[0].value:
        return None
    return first, second[1]


def _stops(statement: cst.BaseStatement) -> bool:
    """Tell whether a statement ends the program if the number of arguments is wrong."""
    if not isinstance(statement, cst.If) or statement.orelse is not None:
        return False
    names = {
        x.func.attr.value if isinstance(x.func, cst.Attribute) else getattr(x.func, "value", "")
        for x in walk(statement.body, cst.Call)
    }
    return bool(names & {"exit", "_exit", "quit"}) or any(walk(statement.body, cst.Raise))
