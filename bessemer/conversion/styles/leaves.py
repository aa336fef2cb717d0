"""The values of a configuration object that can be options: leaves of literals, by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import libcst as cst

from bessemer.conversion.styles.looks import words_of
from bessemer.conversion.styles.setting import Setting, comment_on, kind_of, many_of
from bessemer.conversion.styles.view import View
from bessemer.conversion.syntax import literal_text

_DEVICES = ("cuda", "cpu", "mps", "xpu")


@dataclass(frozen=True, eq=False)
class Leaf:
    """One value.

    Attributes:
        path: the keys that lead to it, from the outside.
        value: the literal.
        kind: its type, or that of its items if there are several.
        at: where it stands.
        help: what the research code says of it; may be empty.
    """

    path: tuple[str, ...]
    value: cst.BaseExpression
    kind: str
    at: cst.CSTNode
    help: str


def leaves_of_dict(node: cst.Dict, path: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Yield the values of a dictionary of literals, those of dictionaries in it included."""
    for element in node.elements:
        key = literal_text(element.key) if isinstance(element, cst.DictElement) else None
        if key is None or not key.isidentifier():
            continue
        if isinstance(element.value, cst.Dict):
            yield from leaves_of_dict(element.value, (*path, key))
        else:
            yield from leaf((*path, key), element.value, element, _comment_after(element.comma))


def leaves_of_keywords(call: cst.Call) -> Iterator[Leaf]:
    """Yield the values of the keyword arguments of a call, and of a dictionary that it is given."""
    for arg in call.args:
        if isinstance(arg.value, cst.Dict):
            yield from leaves_of_dict(arg.value, (arg.keyword.value,) if arg.keyword else ())
        elif arg.keyword is not None:
            yield from leaf((arg.keyword.value,), arg.value, arg, _comment_after(arg.comma))


def leaves_of_class(owner: cst.ClassDef) -> Iterator[Leaf]:
    """Yield the values that a class gives its attributes."""
    for statement in owner.body.body:
        for inner in statement.body if isinstance(statement, cst.SimpleStatementLine) else ():
            target, value = None, None
            if isinstance(inner, cst.Assign) and len(inner.targets) == 1:
                target, value = inner.targets[0].target, inner.value
            elif isinstance(inner, cst.AnnAssign):
                target, value = inner.target, inner.value
            if (
                isinstance(target, cst.Name)
                and value is not None
                and isinstance(statement, cst.BaseStatement)
            ):
                yield from leaf((target.value,), value, statement, comment_on(statement))


def leaf(path: tuple[str, ...], value: cst.BaseExpression, at: cst.CSTNode, text: str) -> Iterator[Leaf]:
    """Yield a value if it can be an option; where things are computed is the run's to decide."""
    kind = many_of(value) or kind_of(value)
    device = "device" in words_of(path[-1]) or (literal_text(value) or "").split(":")[0] in _DEVICES
    if kind is not None and not device and not path[-1].startswith("_"):
        yield Leaf(path, value, kind, at, text)


def named(leaves: Sequence[Leaf], owner: str, taken: Collection[str]) -> dict[Leaf, str]:
    """Return what the options are called: as in the research code; where that is taken, with their owner."""
    often = Counter(x.path[-1].lower() for x in leaves)
    found: dict[Leaf, str] = {}
    used = set(taken)
    for each in leaves:
        name = each.path[-1]
        if often[name.lower()] > 1 or name.lower() in used:
            name = "_".join(each.path) if len(each.path) > 1 else f"{owner}_{name}"
        if name.lower() not in used:
            used.add(name.lower())
            found[each] = name
    return found


def add_leaf(view: View, each: Leaf, name: str, owner: str, notes: tuple[str, ...] = ()) -> None:
    """Make an option of a value."""
    many = isinstance(each.value, cst.Tuple)
    view.add(
        Setting(
            name,
            each.kind,
            view.program.code(each.value),
            each.help or f"{'.'.join(each.path)} of {owner}",
            each.at,
            _code(view, each.at),
            nargs="+" if many else "",
            notes=notes,
        )
    )


def _code(view: View, node: cst.CSTNode) -> str:
    if isinstance(node, cst.DictElement | cst.Arg):
        plain = cst.SimpleWhitespace("")
        node = node.with_changes(comma=cst.MaybeSentinel.DEFAULT)
        node = node.with_changes(whitespace_after_arg=plain) if isinstance(node, cst.Arg) else node
    return view.program.code(node)


def _comment_after(comma: cst.Comma | cst.MaybeSentinel) -> str:
    space = comma.whitespace_after if isinstance(comma, cst.Comma) else None
    comment = space.first_line.comment if isinstance(space, cst.ParenthesizedWhitespace) else None
    return comment.value.strip("# \t") if comment is not None else ""
