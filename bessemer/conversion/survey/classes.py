"""What a class is for: by what it derives from, how it is used, and which methods it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import libcst as cst

from bessemer.conversion.survey.effects import effects, logs, methods_of, reads, sets_rate
from bessemer.conversion.survey.values import calls_in, common
from bessemer.conversion.survey.vocabulary import Role, from_base, made_by
from bessemer.conversion.syntax import Definition, parameters, walk

if TYPE_CHECKING:
    from bessemer.conversion.survey.definitions import Definitions


Rule = Callable[["Definitions", Definition], Role | None]


def by_base(known: Definitions, owner: Definition) -> Role | None:
    """Return the role of what a class derives from; a module without parameters may be a loss."""
    code = known.code
    bases = [x for y in code.bases(_class(owner)) for x in y.bases]
    values = [x.value.value if isinstance(x.value, cst.Subscript) else x.value for x in bases]
    role = common(from_base(code.imported(x) or "") for x in values)
    if role is not Role.MODEL:
        return role
    if any(known.passed.get(x) is Role.TRANSFORM for x in code.bases(_class(owner))):
        return Role.TRANSFORM
    return Role.LOSS if _is_criterion(known, _class(owner)) else role


def _is_criterion(known: Definitions, owner: cst.ClassDef) -> bool:
    """Tell whether a module has nothing to train and is called with a prediction and a target."""
    forward = known.code.method(owner, "forward")
    if forward is None or len(parameters(forward)) < 3:
        return False
    for base in known.code.bases(owner):
        for call in calls_in(base):
            meant = known.code.meant(call.func)
            inner = isinstance(meant, cst.ClassDef) and meant is not owner and known.of(meant) is Role.MODEL
            layer = made_by(known.origins.called(call) or "") is Role.MODEL
            if inner or (layer and not (known.origins.called(call) or "").startswith("torchvision.")):
                return False
    return True


def _class(definition: Definition) -> cst.ClassDef:
    return cst.ensure_type(definition, cst.ClassDef)


def passed(known: Definitions, definition: Definition) -> Role | None:
    """Return what a function or class is handed over for."""
    return known.passed.get(definition)


def _trains(known: Definitions, owner: Definition) -> Role | None:
    methods = (x for base in known.code.bases(_class(owner)) for x in methods_of(base).values())
    return Role.TRAINING if any(x in known.stepping for x in methods) else None


def _by_protocol(known: Definitions, owner: Definition) -> Role | None:
    methods = methods_of(owner)
    names = set(methods)
    facts = known.facts(owner)
    if {"__getitem__", "__len__"} <= names:
        return Role.DATASET
    if {"step", "zero_grad"} <= names:
        return Role.OPTIMIZER
    if sets_rate(owner):
        return Role.SCHEDULER
    if {"reset", "step"} <= names:
        return Role.ENVIRONMENT
    draws = any(x.startswith(("random.", "numpy.random.", "torch.rand")) for x in facts.names)
    if draws and "sample" in names and facts.methods & {"append", "appendleft", "extend"}:
        return Role.DATASET
    if "__iter__" in names and any(walk(methods["__iter__"], cst.Yield)):
        return Role.LOADER
    if "update" in names and names & {"reset", "avg", "compute", "value", "average", "mean", "result"}:
        return Role.METRIC
    return None


def _is_options(known: Definitions, owner: Definition) -> Role | None:
    """A class that only holds values: a dataclass with defaults, or assignments of literals."""
    node = _class(owner)
    decorated = any(
        (known.code.imported(x.decorator.func if isinstance(x.decorator, cst.Call) else x.decorator) or "")
        in ("dataclasses.dataclass", "attr.s", "attrs.define")
        for x in node.decorators
    )
    model = any((known.code.imported(x.value) or "") == "pydantic.BaseModel" for x in node.bases)
    assigned = [x for x in walk(node.body, cst.AnnAssign, cst.Assign) if known.code.around(x) is None]
    values = [x for x in assigned if x.value is not None]
    if decorated or model:
        return Role.OPTIONS if len(values) * 2 >= len(assigned) and values else None
    only = not node.bases and not methods_of(owner) and values
    return Role.OPTIONS if only else None


def _class_effects(known: Definitions, owner: Definition) -> Role | None:
    return effects(known, owner)


CLASS_RULES: tuple[Rule, ...] = (
    by_base,
    passed,
    _trains,
    _by_protocol,
    _is_options,
    _class_effects,
    logs,
    reads,
)
