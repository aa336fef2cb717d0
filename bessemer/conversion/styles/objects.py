"""Configuration objects become options: dictionaries, namespaces, dataclasses and classes that hold values.

An object that is only read by its keys goes, and each read becomes that of an option. One that is handed
around, changed or printed stays an object of its type, made from the options.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import libcst as cst

from bessemer.conversion.styles.constants import constant, places
from bessemer.conversion.styles.leaves import (
    Leaf,
    add_leaf,
    leaf,
    leaves_of_class,
    leaves_of_dict,
    leaves_of_keywords,
    named,
)
from bessemer.conversion.styles.looks import is_hyperparameter, words_of
from bessemer.conversion.styles.setting import comment_on
from bessemer.conversion.styles.view import View
from bessemer.conversion.syntax import assigned, literal_text, method_named, small, statements, walk

_NAMES = frozenset(
    {
        "config",
        "configs",
        "configuration",
        "cfg",
        "conf",
        "params",
        "hparams",
        "hyperparameters",
        "hyperparams",
    }
    | {"hyper", "args", "opt", "opts", "options", "settings", "hp", "hps", "flags", "parameters", "arguments"}
)
_NAMESPACES = frozenset(
    {"types.SimpleNamespace", "argparse.Namespace", "easydict.EasyDict", "builtins.dict", "munch.Munch"}
    | {"addict.Dict", "ml_collections.ConfigDict", "ml_collections.config_dict.ConfigDict", "box.Box"}
)
_BY_ITEM = frozenset({"builtins.dict"})
_MADE_OF_FIELDS = frozenset({"typing.NamedTuple", "pydantic.BaseModel"})


def find_objects(view: View) -> None:
    """Make options of the configuration objects of a program."""
    for statement in list(places(view)):
        found = constant(statement)
        if found is None or not view.can_read(statement):
            continue
        target, value = found
        if isinstance(value, cst.Dict):
            _mapping(view, statement, target, value, list(leaves_of_dict(value)))
        elif isinstance(value, cst.Call):
            owner = view.owner(value.func)
            if (view.program.imported(value.func) or "") in _NAMESPACES:
                _mapping(view, statement, target, value, list(leaves_of_keywords(value)))
            elif owner is not None and _is_record(view, owner):
                _record(view, owner, target, value)
            elif owner is not None and not owner.bases and not owner.decorators:
                _instance(view, owner, statement, target, value)
    for definition in view.program.module.body:
        if isinstance(definition, cst.ClassDef) and not definition.bases and not definition.decorators:
            _class(view, definition)


def looks_like_options(name: str, leaves: Sequence[Leaf] = ()) -> bool:
    """Tell whether an object is one that a run is configured by: by its name, or by what it holds."""
    num_known = sum(is_hyperparameter(x.path[-1], x.kind) for x in leaves)
    return bool(words_of(name) & _NAMES) or num_known >= 2


# Dictionaries and namespaces


def _mapping(
    view: View, statement: cst.BaseStatement, target: cst.Name, value: cst.BaseExpression, leaves: list[Leaf]
) -> None:
    if not leaves or not looks_like_options(target.value, leaves):
        return
    names = named(leaves, target.value, view.taken())
    for each, name in names.items():
        add_leaf(view, each, name, target.value)
    reads = read_by_key(view, target, value, names)
    if reads is not None:
        view.edits.removed.add(statement)
        view.edits.replaced.update(reads)
    else:
        for each, name in names.items():
            view.edits.replaced[each.value] = view.read(name)


def read_by_key(
    view: View, target: cst.Name, value: cst.BaseExpression, names: dict[Leaf, str]
) -> dict[cst.CSTNode, cst.CSTNode] | None:
    """Return every read of an object and what takes its place; None if it is used as a whole."""
    if view.reflects() or not _is_all(value, names):
        return None
    uses = view.reads(target)
    fields = {x.path[0]: name for x, name in names.items() if len(x.path) == 1}
    by_item = (
        isinstance(value, cst.Dict)
        or view.program.imported(cst.ensure_type(value, cst.Call).func) in _BY_ITEM
    )
    found: dict[cst.CSTNode, cst.CSTNode] = {}
    for use in uses or ():
        outer = view.program.parent(use)
        key = _item(outer) if by_item else outer.attr.value if isinstance(outer, cst.Attribute) else None
        shown = isinstance(view.program.parent(outer), cst.FormattedStringExpression)
        if (
            key not in fields
            or key is None
            or not view.program.is_load(outer)
            or shown
            or not view.can_read(use)
        ):
            return None
        found[outer] = view.read(fields[key])
    return found or None


def _is_all(value: cst.BaseExpression, names: dict[Leaf, str]) -> bool:
    """Tell whether everything in an object is an option, directly in it."""
    if isinstance(value, cst.Call):
        if (
            len(value.args) == 1
            and isinstance(value.args[0].value, cst.Dict)
            and value.args[0].keyword is None
        ):
            return _is_all(value.args[0].value, names)
        return {id(x.value) for x in value.args} == {id(x.value) for x in names}
    values = {id(x.value) for x in cst.ensure_type(value, cst.Dict).elements}
    return values == {id(x.value) for x in names}


def _item(node: cst.CSTNode) -> str | None:
    if (
        isinstance(node, cst.Subscript)
        and len(node.slice) == 1
        and isinstance(node.slice[0].slice, cst.Index)
    ):
        return literal_text(node.slice[0].slice.value)
    return None


# Dataclasses


def _is_record(view: View, owner: cst.ClassDef) -> bool:
    marks = (x.decorator.func if isinstance(x.decorator, cst.Call) else x.decorator for x in owner.decorators)
    if owner.decorators:
        return all(view.program.imported(x) == "dataclasses.dataclass" for x in marks)
    return bool(owner.bases) and all(view.program.imported(x.value) in _MADE_OF_FIELDS for x in owner.bases)


def _record(view: View, owner: cst.ClassDef, target: cst.Name, call: cst.Call) -> None:
    """Make an object of fields from options: `Config(lr=settings.lr, ...)`."""
    fields = {x.path[0]: x for x in leaves_of_class(owner)}
    given = {x.path[0]: x for x in leaves_of_keywords(call) if x.path[0] in fields}
    keywords = {x.keyword.value for x in call.args if x.keyword is not None}
    leaves = [given.get(key, x) for key, x in fields.items() if key in given or key not in keywords]
    if not looks_like_options(owner.name.value, leaves) and not looks_like_options(target.value, leaves):
        return
    if any(x.keyword is None for x in call.args) or not _is_made_once(view, owner, call):
        view.remark(
            call,
            f"the fields of {owner.name.value} are no settings: it is made in several places, or by position",
            "nothing; or make it once, with keywords, at the top of the program",
        )
        return
    names = named(leaves, target.value, view.taken())
    for each, name in names.items():
        add_leaf(view, each, name, owner.name.value)
    kept = [x for x in call.args if x.keyword is None or x.keyword.value not in {y.path[0] for y in names}]
    added = [cst.Arg(view.read(name), cst.Name(x.path[0]), equal=_EQUAL) for x, name in names.items()]
    args = [*(x.with_changes(comma=cst.MaybeSentinel.DEFAULT) for x in kept), *added]
    view.edits.replaced[call] = call.with_changes(args=args, whitespace_before_args=cst.SimpleWhitespace(""))


_EQUAL = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))


def _is_made_once(view: View, owner: cst.ClassDef, call: cst.Call) -> bool:
    uses = [x for x in view.uses(owner) if view.program.enclosing(x, cst.Annotation) is None]
    return uses == [call.func]


# Plain classes


def _instance(
    view: View, owner: cst.ClassDef, statement: cst.BaseStatement, target: cst.Name, call: cst.Call
) -> None:
    """Set the attributes of an object from options, behind the line that makes it."""
    leaves = [*leaves_of_class(owner), *_set_in_init(view, owner)]
    if call.args or not _is_named_so(owner) or not looks_like_options(owner.name.value, leaves):
        return
    uses = [x for x in view.uses(owner) if view.program.enclosing(x, cst.Annotation) is None]
    used_inside = {x.value for x in _bare(view, owner)} | _own_reads(owner)
    leaves = [x for x in leaves if x.path[0] not in used_inside]
    if uses != [call.func] or not leaves:
        view.remark(
            call,
            f"the attributes of {owner.name.value} are no settings: the class is used in several places",
            "nothing; or make one object of it, at the top of the program",
        )
        return
    names = named(leaves, target.value, view.taken())
    lines = []
    for each, name in names.items():
        add_leaf(view, each, name, owner.name.value)
        value = cst.AssignTarget(cst.Attribute(cst.Name(target.value), cst.Name(each.path[0])))
        lines.append(cst.SimpleStatementLine([cst.Assign([value], view.read(name))]))
    view.edits.after.setdefault(statement, []).extend(lines)


def _set_in_init(view: View, owner: cst.ClassDef) -> Iterator[Leaf]:
    """Yield the literals that `__init__` sets attributes to, each at its top level and once."""
    initial = method_named(owner, "__init__")
    for statement in statements(initial.body) if initial is not None else ():
        pair = assigned(statement)
        target = pair[0][0] if pair is not None and len(pair[0]) == 1 else None
        if pair is not None and isinstance(target, cst.Attribute) and isinstance(target.value, cst.Name):
            yield from leaf((target.attr.value,), pair[1], statement, comment_on(statement))


def _class(view: View, owner: cst.ClassDef) -> None:
    """Read options where attributes of a class were read: `Config.lr`."""
    leaves = list(leaves_of_class(owner))
    uses = view.uses(owner)
    if not _is_named_so(owner) or not looks_like_options(owner.name.value, leaves) or not uses:
        return
    known = {x.path[0] for x in leaves}
    outer = [view.program.parent(x) for x in uses]
    plain = all(isinstance(x, cst.Attribute) and view.program.is_load(x) and view.can_read(x) for x in outer)
    shown = any(isinstance(view.program.parent(x), cst.FormattedStringExpression) for x in outer)
    inside = {x.value for x in _bare(view, owner)}
    if not plain or shown or inside & known or view.reflects() or any(walk(owner, cst.FunctionDef)):
        return
    leaves = [x for x in leaves if x.path[0] in {y.attr.value for y in outer if isinstance(y, cst.Attribute)}]
    names = named(leaves, owner.name.value, view.taken())
    fields = {x.path[0]: name for x, name in names.items()}
    for each, name in names.items():
        add_leaf(view, each, name, owner.name.value)
        view.edits.removed.add(each.at)
    if all(x in view.edits.removed or is_text(x) for x in owner.body.body):
        view.edits.removed.add(owner)
    for node in outer:
        if isinstance(node, cst.Attribute) and node.attr.value in fields:
            view.edits.replaced[node] = view.read(fields[node.attr.value])


def _is_named_so(owner: cst.ClassDef) -> bool:
    return bool(words_of(owner.name.value) & _NAMES)


def _bare(view: View, owner: cst.ClassDef) -> list[cst.Name]:
    """Return the names that the body of a class reads."""
    return [x for x in walk(owner.body, cst.Name) if view.program.is_load(x)]


def _own_reads(owner: cst.ClassDef) -> set[str]:
    """Return the attributes that methods of a class read of their own object."""
    stored = {id(x.target) for x in walk(owner, cst.AssignTarget)}
    return {x.attr.value for x in walk(owner, cst.Attribute) if id(x) not in stored}


def is_text(statement: cst.BaseStatement | cst.BaseSmallStatement) -> bool:
    """Tell whether a statement is a text that stands alone, such as a docstring."""
    inner = small(statement)
    return isinstance(inner, cst.Expr) and literal_text(inner.value) is not None
