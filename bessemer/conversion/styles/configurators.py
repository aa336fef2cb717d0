"""`exec(open("configurator.py").read())`: constants of the module that the command line may override.

The constants before that line are the options, as `--name=value`; what runs there is not needed any more. A
list of their names that is made by looking at `globals()`, and a dictionary of their values, are written out.
"""

from __future__ import annotations

from pathlib import Path

import libcst as cst

from bessemer.conversion.option import Spelling
from bessemer.conversion.styles.constants import constant
from bessemer.conversion.styles.setting import Setting, comment_on, kind_of
from bessemer.conversion.styles.view import View
from bessemer.conversion.syntax import literal_text, small, walk

_HINT = "write the constants that the file sets into the program, or use argparse"


def find_configurator(view: View, root: Path) -> None:
    """Make options of the constants that a configurator overrides.

    Args:
        view: the program.
        root: the folder of the research code.

    Raises:
        ConversionError: something is executed that is no configurator.
    """
    lines = list(view.lines())
    place, path = next(((x, y) for x in lines if (y := _executed(view, x)) is not None), (None, ""))
    if place is None:
        return
    text = _text(root / path)
    if "sys.argv" not in text or "globals()" not in text:
        raise view.refuse(place, f"exec of {path}: what it sets cannot be said without running it", _HINT)
    takes_files = any(name in text for name in ("exec(", "runpy."))
    before = lines[: lines.index(place)]
    settings: dict[str, Setting] = {}
    for statement in before:
        found = constant(statement)
        kind = kind_of(found[1]) if found is not None else None
        if found is not None and isinstance(found[1], cst.IfExp | cst.Call):
            view.remark(
                statement,
                f"{found[0].value} is no setting: it is computed here, though {path} could override it",
                "nothing; or give it a literal value",
            )
        if found is None or kind is None or found[0].value.startswith("_") or found[0].value in settings:
            continue
        name = found[0].value
        spelt = "truth" if kind == "bool" else kind
        settings[name] = Setting(
            name,
            kind,
            view.program.code(found[1]),
            comment_on(statement) or f"the constant {name} of the research code",
            statement,
            view.program.code(statement),
            Spelling((f"--{name}",), "store", spelt, None, (), False, in_files=takes_files),
        )
        _restate(view, statement, found, name, before, place)
        view.add(settings[name])
    view.edits.removed.add(place)
    names: list[tuple[cst.Name, cst.BaseStatement]] = []
    for statement in lines:
        names += _write_out(view, statement, list(settings))
    for target, statement in names:
        reads = view.reads(target)
        # A list that only a dictionary was made from, which is written out, is read by nothing now.
        if reads is not None and all(_is_gone(view, x) for x in reads):
            view.edits.removed.add(statement)


def _executed(view: View, statement: cst.BaseStatement) -> str | None:
    """Return the file that a statement executes, if it says its name."""
    inner = small(statement)
    call = inner.value if isinstance(inner, cst.Expr) else None
    if not isinstance(call, cst.Call) or view.program.imported(call.func) != "builtins.exec" or not call.args:
        return None
    for opened in walk(call.args[0].value, cst.Call):
        name = view.program.imported(opened.func)
        if name in ("builtins.open", "pathlib.Path") and opened.args:
            return literal_text(opened.args[0].value)
    return None


def _text(file: Path) -> str:
    """Return the text of a file; of one that cannot be read, nothing."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _restate(
    view: View,
    statement: cst.BaseStatement,
    found: tuple[cst.Name, cst.BaseExpression],
    name: str,
    before: list[cst.BaseStatement],
    place: cst.BaseStatement,
) -> None:
    """Read the option where the constant is read; where it is set again, begin with the option."""
    reads = view.reads(found[0])
    # Above the line that overrides it, a constant still has the value that was written there.
    late = reads is not None and all(view.program.before(place, x) for x in reads)
    if reads is not None and late:
        view.edits.removed.add(statement)
        for use in reads:
            view.edits.replaced[use] = view.read(name)
    else:
        view.edits.replaced[found[1]] = view.read(name)


def _is_gone(view: View, node: cst.CSTNode) -> bool:
    return any(x in view.edits.replaced for x in view.program.ancestors(node))


def _write_out(
    view: View, statement: cst.BaseStatement, names: list[str]
) -> list[tuple[cst.Name, cst.BaseStatement]]:
    """Write out a list of names, or a dictionary of values, made from `globals()`; return the list."""
    found = constant(statement)
    if found is None or not any(
        isinstance(x.func, cst.Name) and x.func.value == "globals" for x in walk(found[1], cst.Call)
    ):
        return []
    match found[1]:
        case cst.ListComp():
            items = ", ".join(f'"{x}"' for x in names)
            view.edits.replaced[found[1]] = cst.parse_expression(f"[{items}]")
            return [(found[0], statement)]
        case cst.DictComp():
            items = ", ".join(f'"{x}": {view.name}.{x}' for x in names)
            view.edits.replaced[found[1]] = cst.parse_expression(f"{{{items}}}")
    return []
