"""The parameters of the function that a command line calls become options: of click, fire and typer."""

from __future__ import annotations

import libcst as cst

from bessemer.conversion.styles.setting import Setting
from bessemer.conversion.styles.view import View
from bessemer.conversion.syntax import parameters


def start_with_options(
    view: View, function: cst.FunctionDef, start: cst.BaseStatement, settings: dict[str, Setting]
) -> None:
    """Have a function read its options itself, and the program start with a plain call of it.

    Args:
        view: the program.
        function: what the command line calls.
        start: the statement that hands it to the library.
        settings: by parameter of the function, what becomes of it.
    """
    lines: list[cst.BaseStatement] = []
    for param in parameters(function):
        setting = settings[param.name.value]
        view.add(setting)
        value: cst.BaseExpression = view.read(setting.name)
        reads = view.reads(param)
        if reads is not None and not view.reflects():
            for use in reads:
                view.edits.replaced[use] = value.deep_clone()
        else:
            target = cst.AssignTarget(cst.Name(param.name.value))
            lines.append(cst.SimpleStatementLine([cst.Assign([target], value)]))
    view.edits.top[function] = lines
    view.edits.replaced[function.params] = cst.Parameters()
    view.edits.removed.update(function.decorators)
    line = cst.SimpleStatementLine(
        [cst.Expr(cst.Call(cst.Name(function.name.value)))],
        leading_lines=getattr(start, "leading_lines", ()),
    )
    view.edits.replaced[start] = line
    view.started = function


def only_named(view: View, function: cst.FunctionDef, names: list[cst.Name]) -> None:
    """Refuse a program that also uses the function otherwise.

    Raises:
        ConversionError: it does.
    """
    for use in view.uses(function):
        if use not in names:
            raise view.refuse(
                use,
                f"{function.name.value} is called by the command line, and used here as well",
                f"move what {function.name.value} does into a function without options, and call that",
            )
