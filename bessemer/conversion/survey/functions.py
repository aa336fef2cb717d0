"""What a function is for: by what it calls, what it returns and what becomes of that."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import libcst as cst

from bessemer.conversion.survey.classes import passed
from bessemer.conversion.survey.effects import (
    PLOTS,
    QUIET,
    SAVES,
    effects,
    iterated,
    logs,
    methods_of,
    reads,
    sets_rate,
)
from bessemer.conversion.survey.vocabulary import Role
from bessemer.conversion.syntax import Definition, parameters, walk, walk_own

if TYPE_CHECKING:
    from bessemer.conversion.survey.definitions import Definitions


Rule = Callable[["Definitions", Definition], Role | None]


_MEASURES = frozenset({"argmax", "topk", "eq", "argsort", "bincount"})
_EXPORTS = frozenset({"torch.onnx.export", "torch.export.export", "torch.jit.save"})
_RETURNED = (
    Role.LOADER,
    Role.DATASET,
    Role.MODEL,
    Role.OPTIMIZER,
    Role.SCHEDULER,
    Role.SAMPLER,
    Role.ENVIRONMENT,
    Role.OPTIONS,
    Role.LOGGING,
    Role.TRANSFORM,
    Role.DEVICE,
)


def _function(definition: Definition) -> cst.FunctionDef:
    return cst.ensure_type(definition, cst.FunctionDef)


def _parses(known: Definitions, definition: Definition) -> Role | None:
    facts = known.facts(definition)
    parses = facts.methods & {"parse_args", "parse_known_args"} or "argparse.ArgumentParser" in facts.names
    adds = "add_argument" in facts.methods and "add_argument_group" not in facts.methods
    return Role.OPTIONS if (parses or adds) and definition not in known.stepping else None


def _steps(known: Definitions, definition: Definition) -> Role | None:
    function = _function(definition)
    if function in known.direct:
        return Role.TRAINING
    if function not in known.stepping:
        return None
    inner = any(x is not function and x in known.direct for x in walk(function, cst.FunctionDef))
    return Role.ENTRY if function in known.started and not inner else Role.TRAINING


def _restores(known: Definitions, definition: Definition) -> Role | None:
    facts = known.facts(definition)
    saves = facts.names & SAVES and facts.methods & {"load_state_dict", "state_dict"}
    return Role.CHECKPOINTING if saves or facts.names & _EXPORTS else None


def _returns(known: Definitions, definition: Definition) -> Role | None:
    returns = [x.value for x in walk_own(_function(definition), cst.Return) if x.value is not None]
    if known.code.is_generator(_function(definition)):
        return None
    found = {role for x in returns for role in known.values.items(x)}
    return next((x for x in _RETURNED if x in found), None)


def _evaluates(known: Definitions, definition: Definition) -> Role | None:
    """It uses a model over and over, or judges it, without training it."""
    function = _function(definition)
    facts = known.facts(definition)
    quiet = bool(facts.names & QUIET) or any(
        (known.code.imported(x.decorator.func if isinstance(x.decorator, cst.Call) else x.decorator) or "")
        in QUIET
        for x in function.decorators
    )
    judged = any(
        isinstance(x.func, cst.Attribute)
        and x.func.attr.value == "eval"
        and known.values.of(x.func.value) in (Role.MODEL, None)
        and known.code.imported(x.func) is None
        for x in facts.calls
    )
    over_loader = any(
        known.values.of(iterated(known, x.iter)) is Role.LOADER for x in walk(function, cst.For)
    )
    uses = any(known.values.of(x.func) is Role.MODEL for x in facts.calls)
    loops = any(walk(function, cst.For, cst.While, cst.CompFor))
    measured = any(known.values.of(x) in (Role.LOSS, Role.METRIC) for x in facts.calls)
    plots = any(x.startswith(PLOTS) for x in facts.names)
    if over_loader and (quiet or judged or uses):
        return Role.EVALUATION
    if plots:
        return None
    if not (judged or uses or any(x is Role.MODEL for x in map(known.values.of, parameters(function)))):
        return None  # a number of predictions, computed without gradients
    quietly = quiet or judged
    return Role.EVALUATION if quietly and (loops or measured or not _acts(known, function)) else None


def _acts(known: Definitions, function: cst.FunctionDef) -> bool:
    """Tell whether what a function returns is done in an environment."""
    for call in known.origins.callers(function):
        caller = known.code.around(call)
        scope: cst.CSTNode = caller if caller is not None else known.code.file(call)
        for x in walk(scope, cst.Call):
            is_step = isinstance(x.func, cst.Attribute) and x.func.attr.value == "step"
            if (
                is_step
                and isinstance(x.func, cst.Attribute)
                and known.values.of(x.func.value) is Role.ENVIRONMENT
            ):
                return True
    return False


def _gives_rate(known: Definitions, definition: Definition) -> Role | None:
    """What it returns becomes the rate of an optimizer, at once or through a variable."""
    for call in known.origins.callers(_function(definition)):
        statement = known.code.statement(call)
        if sets_rate(statement):
            return Role.SCHEDULER
        caller = known.code.around(call)
        scope: cst.CSTNode = caller if caller is not None else known.code.file(call)
        names = {x.value for y in walk(statement, cst.AssignTarget) for x in _targets(y.target)}
        for assignment in walk(scope, cst.Assign) if names else ():
            value = assignment.value
            if isinstance(value, cst.Name) and value.value in names and sets_rate(assignment):
                return Role.SCHEDULER
    return None


def _minimised(known: Definitions, definition: Definition) -> Role | None:
    """It computes what is minimised: it returns a loss, or what it returns goes backward."""
    function = _function(definition)
    returns = [x.value for x in walk_own(function, cst.Return) if x.value is not None]
    if any(Role.LOSS in known.values.items(x) for x in returns):
        return Role.LOSS
    meant = [function, *_overridden(known, function)]
    callers = (x for y in meant for x in known.origins.callers(y))
    return Role.LOSS if any(_goes_backward(known, x) for x in callers) else None


def _overridden(known: Definitions, function: cst.FunctionDef) -> list[cst.FunctionDef]:
    """Return the methods of base classes that a method takes the place of."""
    owner = known.code.owner(function)
    if owner is None:
        return []
    name = function.name.value
    found = (methods_of(x).get(name) for x in known.code.bases(owner) if x is not owner)
    return [x for x in found if x is not None]


def _goes_backward(known: Definitions, call: cst.Call) -> bool:
    """Tell whether the result of a call becomes a loss, as a whole or as a term of it."""
    node: cst.CSTNode = call
    for outer in known.code.ancestors(call):
        if isinstance(outer, cst.Attribute) and outer.attr.value == "backward":
            return True
        if isinstance(outer, cst.Assign):
            targets = [x for y in outer.targets for x in _targets(y.target)]
            if isinstance(outer.targets[0].target, cst.Tuple):
                targets = targets[:1]
            return any(x in known.values.minimised or _adds_up(known, x) for x in targets)
        if isinstance(outer, cst.AugAssign):
            return isinstance(outer.target, cst.Name) and outer.target in known.values.minimised
        is_part = isinstance(outer, cst.BinaryOperation | cst.UnaryOperation)
        if isinstance(outer, cst.Call) and isinstance(outer.func, cst.Attribute) and outer.func.value is node:
            is_part = outer.func.attr.value in ("mean", "sum", "backward")
        if isinstance(outer, cst.Attribute) and outer.attr.value in ("mean", "sum"):
            is_part = True
        if not is_part:
            return False
        node = outer
    return False


def _adds_up(known: Definitions, name: cst.Name) -> bool:
    """Tell whether a variable is a term of what goes backward."""
    function = known.code.around(name)
    scope: cst.CSTNode = function if function is not None else known.code.file(name)
    for statement in walk(scope, cst.Assign):
        targets = [x for y in statement.targets for x in _targets(y.target)]
        if not any(x in known.values.minimised for x in targets):
            continue
        if isinstance(statement.value, cst.BinaryOperation):
            terms = walk(statement.value, cst.Name)
            if any(x.value == name.value for x in terms):
                return True
    return False


def _targets(node: cst.BaseExpression) -> list[cst.Name]:
    return list(walk(node, cst.Name))


def _batches(known: Definitions, definition: Definition) -> Role | None:
    """It gives the batches of a training loop: what it returns goes into a model, and it takes none."""
    function = _function(definition)
    if known.code.is_generator(function):
        yielded = [x.value.item for x in walk(function, cst.Yield) if isinstance(x.value, cst.From)]
        gone_over = [iterated(known, x.iter) for x in walk(function, cst.For)]
        if any(known.values.of(x) is Role.LOADER for x in (*yielded, *gone_over)):
            return Role.LOADER
    if any(known.values.of(x) in (Role.MODEL, Role.OPTIMIZER) for x in parameters(function)):
        return None
    for call in known.origins.callers(function):
        loop = known.code.enclosing(call, cst.For, cst.While)
        if loop is None:
            continue
        if isinstance(loop, cst.For) and iterated(known, loop.iter) is call:
            if known.code.is_generator(function) and _feeds(
                known, loop, {x.value for x in _targets(loop.target)}
            ):
                return Role.LOADER
            continue
        statement = known.code.statement(call)
        names = {x.value for y in walk(statement, cst.AssignTarget) for x in _targets(y.target)}
        taken = {x.value for arg in call.args for x in walk(arg.value, cst.Name)}
        # What takes its own last result is a state, not a batch.
        gives = isinstance(known.code.parents.get(call), cst.Assign) and names.isdisjoint(taken)
        if gives and known.facts(function).calls and _feeds(known, loop, names):
            return Role.LOADER
    return None


def _feeds(known: Definitions, loop: cst.CSTNode, names: set[str]) -> bool:
    """Tell whether some of these names are given to a model in a loop."""
    for call in walk(loop, cst.Call):
        if known.values.of(call.func) is Role.MODEL:
            given = {x.value for arg in call.args for x in walk(arg.value, cst.Name)}
            if given & names:
                return True
    for pair in walk(loop, cst.BinaryOperation):
        for mine, other in ((pair.left, pair.right), (pair.right, pair.left)):
            if known.values.of(mine) is Role.MODEL and {x.value for x in walk(other, cst.Name)} & names:
                return True
    return False


def _measures(known: Definitions, definition: Definition) -> Role | None:
    """A number of predictions and targets, computed and given back."""
    function = _function(definition)
    facts = known.facts(definition)
    compares = any(isinstance(x.operator, cst.Equal) for x in walk(function, cst.ComparisonTarget))
    returns = any(x.value is not None for x in walk_own(function, cst.Return))
    judged = facts.methods & _MEASURES or any(x.startswith("sklearn.metrics.") for x in facts.names)
    judged = judged or (compares and facts.methods & {"mean", "sum", "float", "item"})
    judged = judged or bool({"torch.argmax", "torch.topk", "torch.eq"} & facts.names)
    return Role.METRIC if returns and judged and len(parameters(function)) >= 2 else None


FUNCTION_RULES: tuple[Rule, ...] = (
    _parses,
    passed,
    _steps,
    _restores,
    _evaluates,
    _returns,
    effects,
    _minimised,
    _gives_rate,
    _batches,
    logs,
    _measures,
    reads,
)
