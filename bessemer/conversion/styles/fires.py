"""Options that are the parameters of a function: `fire.Fire(main)`, `typer.run(main)`, `@app.command()`.

Both read names, defaults and types from the function. What they take apart by themselves, such as a class or
a group of functions, is refused.
"""

from __future__ import annotations

import libcst as cst

from bessemer.conversion.option import Spelling
from bessemer.conversion.styles.parameters import only_named, start_with_options
from bessemer.conversion.styles.setting import Setting, annotated, kind_of, many_of
from bessemer.conversion.styles.view import View
from bessemer.conversion.syntax import argument, assigned, literal_text, parameters, small, walk
from bessemer.errors import ConversionError

_FIRE, _TYPER = "fire.Fire", "typer.run"
_HINT = "give the command line one function whose parameters have plain defaults or types"


def find_fire(view: View) -> None:
    """Make options of the parameters of the function that fire or typer calls.

    Raises:
        ConversionError: it is not one function with plain parameters.
    """
    program = view.program
    calls = [x for x in walk(program.module, cst.Call) if program.imported(x.func) in (_FIRE, _TYPER)]
    for call in calls:
        function = view.function(call.args[0].value) if call.args else None
        statement = program.statement(call)
        is_alone = len(calls) == 1 and statement in list(view.lines()) and len(call.args) == 1
        if function is None or not is_alone or function.decorators:
            raise view.refuse(call, f"{program.code(call)} does not call one function of the program", _HINT)
        only_named(view, function, [cst.ensure_type(call.args[0].value, cst.Name)])
        _convert(view, function, statement, program.imported(call.func) == _FIRE)
        return
    _find_app(view)


def _find_app(view: View) -> None:
    """Convert `app = typer.Typer()`, one `@app.command()`, and `app()`."""
    program = view.program
    made = [x for x in walk(program.module, cst.Call) if program.imported(x.func) == "typer.Typer"]
    if not made:
        return
    statement = program.statement(made[0])
    pair = assigned(statement)
    app = pair[0][0] if pair is not None and pair[1] is made[0] else None
    if len(made) > 1 or not isinstance(app, cst.Name):
        raise view.refuse(made[-1], "several apps of typer", _HINT)
    functions: list[cst.FunctionDef] = []
    starts: list[cst.BaseStatement] = []
    for use in view.named(app.value):
        if use is app or app not in program.bindings(use):
            continue
        outer = program.parent(use)
        decorator = program.enclosing(use, cst.Decorator)
        if decorator is not None and isinstance(outer, cst.Attribute) and outer.attr.value == "command":
            functions.append(cst.ensure_type(program.parent(decorator), cst.FunctionDef))
        elif isinstance(outer, cst.Call) and outer.func is use and not outer.args:
            starts.append(program.statement(use))
        else:
            raise view.refuse(use, f"{app.value} is used for more than one command", _HINT)
    if len(functions) != 1 or len(starts) != 1 or len(functions[0].decorators) != 1:
        raise view.refuse(made[0], f"typer with {len(functions)} commands", _HINT)
    if starts[0] not in list(view.lines()) or not isinstance(small(starts[0]), cst.Expr):
        raise view.refuse(starts[0], "the app of typer is not called at module level", _HINT)
    only_named(view, functions[0], [])
    view.edits.removed.add(statement)
    _convert(view, functions[0], starts[0], is_fire=False)


def _convert(view: View, function: cst.FunctionDef, start: cst.BaseStatement, is_fire: bool) -> None:
    star = function.params.star_arg if isinstance(function.params.star_arg, cst.Param) else None
    if star is not None or function.params.star_kwarg is not None:
        raise view.refuse(function, f"{function.name.value} takes any arguments", _HINT)
    settings = {}
    for position, param in enumerate(parameters(function)):
        read = _of_fire if is_fire else _of_typer
        settings[param.name.value] = read(view, function, param, position)
    start_with_options(view, function, start, settings)


def _of_fire(view: View, function: cst.FunctionDef, param: cst.Param, position: int) -> Setting:
    name, default = param.name.value, param.default
    kind = _kind(view, param, param.annotation.annotation if param.annotation else None, default)
    long = f"--{name}"
    flags = tuple(dict.fromkeys((long, long.replace("_", "-"))))
    off = tuple(dict.fromkeys((f"--no{name}", f"--no{name.replace('_', '-')}"))) if kind == "bool" else ()
    spelling = Spelling(
        flags, "switch" if off else "store", _read_as(kind), None, (), default is None, off, position
    )
    return _setting(view, function, param, kind, default, spelling, "")


def _of_typer(view: View, function: cst.FunctionDef, param: cst.Param, position: int) -> Setting:
    name, default, text = param.name.value, param.default, ""
    annotation = param.annotation.annotation if param.annotation else None
    marks = [x for x in walk(param, cst.Call) if view.program.imported(x.func) in _MARKS]
    mark = marks[0] if marks else None
    if isinstance(annotation, cst.Subscript) and annotation.slice:
        first = annotation.slice[0].slice
        if isinstance(annotation.value, cst.Name) and annotation.value.value == "Annotated":
            annotation = first.value if isinstance(first, cst.Index) else None
    if mark is not None and mark is default:
        default = argument(mark, "default", 0)
        if isinstance(default, cst.Ellipsis):
            default = None
    is_argument = default is None and (mark is None or view.program.imported(mark.func) == "typer.Argument")
    is_argument = is_argument or (mark is not None and view.program.imported(mark.func) == "typer.Argument")
    declared = [literal_text(x.value) for x in mark.args if x.keyword is None] if mark is not None else []
    flags = tuple(x for x in declared if x is not None and x.startswith("-")) or (
        f"--{name.replace('_', '-')}",
    )
    if any("/" in x for x in flags):
        raise view.refuse(param, f"{flags[0]}: a pair of flags of typer", _HINT)
    text = literal_text(argument(mark, "help")) or "" if mark is not None else ""
    known = {"help", "default", "show_default", "min", "max", "metavar", "rich_help_panel"}
    if mark is not None and {x.keyword.value for x in mark.args if x.keyword is not None} - known:
        raise view.refuse(param, f"{view.program.code(mark)} is more than a default and a help text", _HINT)
    kind = _kind(view, param, annotation, default)
    off = tuple(f"--no-{x[2:]}" for x in flags if x.startswith("--")) if kind == "bool" else ()
    spelt = (name,) if is_argument else flags
    nargs = "?" if is_argument and default is not None else None
    spelling = Spelling(
        spelt, "store_true" if off else "store", _read_as(kind), nargs, (), default is None, off
    )
    return _setting(view, function, param, kind, default, spelling, text)


_MARKS = ("typer.Option", "typer.Argument")


def _kind(
    view: View, param: cst.Param, annotation: cst.BaseExpression | None, default: cst.BaseExpression | None
) -> str:
    """Return the type of a parameter, of its items if it is a tuple."""
    kind = annotated(annotation)
    if kind == "Path" and (
        view.program.imported(cst.ensure_type(_named(annotation), cst.Name)) != "pathlib.Path"
    ):
        kind = None
    if kind is None and default is not None:
        kind = kind_of(default) or many_of(default)
    if kind is None:
        raise _unclear(view, param)
    return kind


def _named(annotation: cst.BaseExpression | None) -> cst.CSTNode:
    assert annotation is not None
    return next(x for x in walk(annotation, cst.Name) if x.value == "Path")


def _unclear(view: View, param: cst.Param) -> ConversionError:
    name = param.name.value
    return view.refuse(
        param,
        f"the parameter {name} has no plain default and no plain type, so what it is cannot be said",
        f"give it a type, such as {name}: str, or a literal default",
    )


def _read_as(kind: str) -> str:
    return "truth" if kind == "bool" else kind


def _setting(
    view: View,
    function: cst.FunctionDef,
    param: cst.Param,
    kind: str,
    default: cst.BaseExpression | None,
    spelling: Spelling,
    text: str,
) -> Setting:
    name = param.name.value
    is_none = isinstance(default, cst.Name) and default.value == "None"
    many = default is not None and many_of(default) is not None
    if default is not None and not is_none and not many and kind_of(default) is None:
        raise _unclear(view, param)
    said = (
        text
        or _said(function.get_docstring() or "", name)
        or f"the parameter {name} of {function.name.value}"
    )
    return Setting(
        name,
        kind,
        view.program.code(default) if default is not None else None,
        said,
        param,
        view.program.code(param).rstrip(","),
        spelling,
        nargs="+" if many else "",
    )


def _said(docstring: str, name: str) -> str:
    """Return what a docstring says of a parameter, on a line of its own: `name: what it is`."""
    for line in docstring.splitlines():
        head, colon, rest = line.strip().removeprefix(":param ").partition(":")
        if colon and head.split(" ")[0] == name and rest.strip():
            return " ".join(rest.split())
    return ""
