"""Options that are the fields of a dataclass: `args = tyro.cli(Args)`.

The dataclass stays, and is made from the settings: `Args(lr=settings.lr, ...)`. A field whose value the
program computes, or whose type is none of a setting, keeps its default and is named.
"""

from __future__ import annotations

import libcst as cst

from bessemer.conversion.option import Spelling
from bessemer.conversion.styles.setting import Setting, annotated, comment_on, kind_of, many_of
from bessemer.conversion.styles.view import View
from bessemer.conversion.syntax import literal_text, small, walk

_CLI = "tyro.cli"
_SAID_ONLY = frozenset({"prog", "description"})
_HINT = "give tyro one dataclass of the program, once, where the program starts"
_TIGHT = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))


def find_tyro(view: View) -> None:
    """Make options of the fields of the dataclass that tyro fills from the command line.

    Raises:
        ConversionError: it is not one dataclass, or not one call.
    """
    program = view.program
    calls = [x for x in walk(program.module, cst.Call) if program.imported(x.func) == _CLI]
    for call in calls:
        owner = view.owner(call.args[0].value) if call.args and call.args[0].keyword is None else None
        more = {x.keyword.value if x.keyword is not None else x.star for x in call.args[1:]}
        function = program.function(call)
        is_start = function is None or function is view.main()
        if owner is None or not _is_dataclass(view, owner) or more - _SAID_ONLY or not is_start:
            raise view.refuse(call, f"{program.code(call)} does not fill one dataclass of the program", _HINT)
        uses = [x for x in view.uses(owner) if program.enclosing(x, cst.Annotation) is None]
        if len(calls) > 1 or uses != [call.args[0].value]:
            raise view.refuse(call, f"{owner.name.value} is used in several places", _HINT)
        view.edits.replaced[call] = cst.Call(cst.Name(owner.name.value), _arguments(view, owner))


def _is_dataclass(view: View, owner: cst.ClassDef) -> bool:
    marks = (x.decorator.func if isinstance(x.decorator, cst.Call) else x.decorator for x in owner.decorators)
    return not owner.bases and [view.program.imported(x) for x in marks] == ["dataclasses.dataclass"]


def _arguments(view: View, owner: cst.ClassDef) -> list[cst.Arg]:
    """Make options of the fields of a class, and return what it is made with."""
    args: list[cst.Arg] = []
    lines = list(owner.body.body)
    for line, following in zip(lines, [*lines[1:], None], strict=True):
        field = small(line) if isinstance(line, cst.BaseStatement) else line
        if not isinstance(field, cst.AnnAssign) or not isinstance(field.target, cst.Name):
            continue
        below = small(following) if isinstance(following, cst.BaseStatement) else following
        said = literal_text(below.value) if isinstance(below, cst.Expr) else None
        assert isinstance(line, cst.BaseStatement)
        setting = _setting(view, owner, line, field, said or comment_on(line))
        if setting is not None:
            view.add(setting)
            args.append(cst.Arg(view.read(setting.name), cst.Name(field.target.value), equal=_TIGHT))
    return args


def _setting(
    view: View, owner: cst.ClassDef, line: cst.BaseStatement, field: cst.AnnAssign, said: str
) -> Setting | None:
    """Return the option that a field is; one that can be none is named."""
    name, value = cst.ensure_type(field.target, cst.Name).value, field.value
    kind, choices = annotated(field.annotation.annotation), ""
    values = _choices(view, field.annotation.annotation)
    many = value is not None and many_of(value) is not None
    if values:
        kind, choices = "str", repr(list(values))
    elif many and value is not None:
        kind = many_of(value)
    is_plain = value is None or many or kind_of(value) is not None or _is_computed(view, value)
    if kind not in ("int", "float", "str", "bool") or not is_plain:
        reason = f"the field {name} of {owner.name.value} is no setting: its type or its value is none of one"
        view.remark(field, reason, f"give it a plain type and a literal, if {name} is to be chosen for a run")
        if value is None:
            raise view.refuse(field, reason, f"give {name} a plain type")
        return None
    flags = tuple(dict.fromkeys((f"--{name.replace('_', '-')}", f"--{name}")))
    off = tuple(f"--no-{x[2:]}" for x in flags) if kind == "bool" and value is not None else ()
    spelling = Spelling(
        flags,
        "store_true" if off else "store",
        "truth" if kind == "bool" else kind,
        "+" if many else None,
        values,
        value is None,
        off,
    )
    return Setting(
        name,
        kind,
        view.program.code(value) if value is not None else None,
        " ".join(said.split()) or f"{name} of {owner.name.value}",
        line,
        view.program.code(field),
        spelling,
        choices,
        "+" if many else "",
    )


def _is_computed(view: View, value: cst.BaseExpression) -> bool:
    """Tell whether a default is `None`, or computed from nothing but literals and what is built in."""
    names = [x for x in walk(value, cst.Name) if view.program.is_load(x)]
    is_field = any(
        (view.program.imported(x.func) or "").startswith("dataclasses.") for x in walk(value, cst.Call)
    )
    return not is_field and all((view.program.imported(x) or "").startswith("builtins.") for x in names)


def _choices(view: View, annotation: cst.BaseExpression) -> tuple[str, ...]:
    """Return the texts that `Literal["a", "b"]` allows."""
    if not isinstance(annotation, cst.Subscript):
        return ()
    if view.program.imported(annotation.value) not in ("typing.Literal", "typing_extensions.Literal"):
        return ()
    items = [x.slice.value for x in annotation.slice if isinstance(x.slice, cst.Index)]
    texts = [literal_text(x) for x in items]
    return tuple(x for x in texts if x is not None) if all(x is not None for x in texts) else ()
