"""Functions and classes that read what the program's start has set get it handed over.

After hoisting, a name that a function reads as a global one may be a local variable of the entry
function. It becomes a parameter, in front of the others, of the function and of every function that calls
it; a class takes it in `__init__` and keeps it in an attribute if other methods read it. Where handing over
a value could differ from reading the name later (it is set again in a loop, the function is a value, ...),
the definition moves into the entry function instead, where Python's own closures keep the meaning; the
reason is reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import libcst as cst

from bessemer.conversion.flow import Flow
from bessemer.conversion.normal.names import find_names
from bessemer.conversion.normal.places import Places, Tracer
from bessemer.conversion.syntax import Definition, Program, every, parameters, understand, walk, walk_own


@dataclass(frozen=True)
class Nested:
    """A definition that stays inside of the entry function, and why."""

    where: str
    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Closed:
    """A module whose definitions read no variable of the entry function, and what had to move into it."""

    module: cst.Module
    nested: tuple[Nested, ...]


def close(module: cst.Module, entry: str, places: Places) -> Closed:
    """Hand variables of the entry function to the definitions that read them."""
    nested: dict[str, Nested] = {}
    while True:
        found = _Closer(module, entry, places, nested.keys())
        refused = found.refused()
        if not refused:
            return Closed(found.changed(), tuple(nested.values()))
        nested.update({x.name: x for x in refused})


class _Closer:
    """One attempt, with some definitions already in the entry function."""

    def __init__(self, module: cst.Module, entry: str, places: Places, nested: Iterable[str]) -> None:
        self.places = places
        inside = frozenset(nested)
        arranged = _arranged(module, entry, inside, places)
        self.program: Program = understand(arranged, "", places.known)
        self.places.learn(self.program.stood)
        self.module = self.program.module
        self.names = find_names(self.module)
        self.definitions: dict[str, Definition] = {
            x.name.value: x
            for x in self.module.body
            if isinstance(x, cst.FunctionDef | cst.ClassDef) and x.name.value != entry
        }
        self.entry = next(
            x for x in self.module.body if isinstance(x, cst.FunctionDef) and x.name.value == entry
        )
        scope = self.program.scopes.get(self.entry.body)
        self.variables = frozenset(x.name for x in scope.assignments) if scope is not None else frozenset()
        self.inside = inside
        self.flow = Flow(self.program, self.entry)
        self.users = {name: self._uses_of(name) for name in self.definitions}
        self.reads = {name: self._reads(x) for name, x in self.definitions.items()}
        self.needs = self._all_needs()

    def _uses_of(self, name: str) -> list[cst.Name]:
        definition = self.definitions[name]
        uses = self.names.uses.get(name, [])
        return [x for x in uses if x is not definition.name and not self._is_annotation(x)]

    def _is_annotation(self, node: cst.CSTNode) -> bool:
        return self.program.enclosing(node, cst.Annotation) is not None

    def _reads(self, definition: Definition) -> dict[str, list[cst.Name]]:
        """Return the reads of the entry function's variables in a definition."""
        found: dict[str, list[cst.Name]] = {}
        held = set(walk(definition, cst.Name))
        for name in self.variables:
            uses = [x for x in self.names.uses.get(name, ()) if x in held and not self._is_annotation(x)]
            if uses:
                found[name] = sorted(uses, key=self.program.place)
        return dict(sorted(found.items(), key=lambda x: self.program.place(x[1][0])))

    def _all_needs(self) -> dict[str, tuple[str, ...]]:
        needs = {name: dict.fromkeys(reads) for name, reads in self.reads.items()}
        changed = True
        while changed:
            changed = False
            for name, uses in self.users.items():
                for use in uses:
                    user = self.program.definition(use)
                    if user is None or user is self.entry or user.name.value == name:
                        continue
                    before = len(needs[user.name.value])
                    needs[user.name.value].update(needs[name])
                    changed = changed or len(needs[user.name.value]) > before
        return {name: tuple(found) for name, found in needs.items()}

    # What cannot be handed over

    def refused(self) -> list[Nested]:
        found = []
        for name, definition in self.definitions.items():
            reason = self._refusal(name, definition)
            if reason:
                found.append(Nested(self.places.of(definition) or "", name, reason))
        return found

    def _refusal(self, name: str, definition: Definition) -> str:
        touched = sorted(set(self.reads[name]) & self.inside)
        if touched:
            return f"it uses {', '.join(touched)}"
        declared = sorted(x.name.value for node in walk(definition, cst.Global) for x in node.names)
        if declared:
            return f"it sets the global {', '.join(declared)}"
        needs = self.needs[name]
        if not needs:
            return ""
        shown = ", ".join(needs)
        for use in self.users[name]:
            call = self.program.parent(use)
            if not (isinstance(call, cst.Call) and call.func is use):
                return f"it reads {shown}, and is itself used as a value"
            reason = self._call_refusal(call, needs)
            if reason:
                return reason
        lasting = isinstance(definition, cst.ClassDef) or self._outlives(definition, self.reads[name])
        for variable in needs:
            if lasting and not self._is_settled(variable, name):
                return f"{variable} may be set again after {name} was made or called"
        if isinstance(definition, cst.ClassDef):
            return self._class_refusal(definition)
        taken = {x.name.value for x in parameters(definition)}
        scope = self.program.scopes.get(definition.body)
        own = frozenset(x.name for x in scope.assignments) if scope is not None else frozenset()
        clash = sorted(set(needs) & (taken | own))
        return f"it has a variable {clash[0]} of its own" if clash else ""

    def _call_refusal(self, call: cst.Call, needs: tuple[str, ...]) -> str:
        user = self.program.definition(call)
        if user is not self.entry:
            inner = [x for x in self.program.ancestors(call) if isinstance(x, cst.FunctionDef | cst.Lambda)]
            for function in inner:
                hidden = sorted({x.name.value for x in walk(function.params, cst.Param)} & set(needs))
                if hidden:
                    return f"{self._shown(function)} has a parameter {hidden[0]} of its own"
            scope = self.program.scopes.get(call)
            while scope is not None and user is not None and scope is not self.program.scopes.get(user):
                hidden = sorted({x.name for x in scope.assignments if x.scope is scope} & set(needs))
                if hidden:
                    return f"{user.name.value} has a variable {hidden[0]} of its own"
                scope = scope.parent if scope.parent is not scope else None
            return ""
        statement = self.program.statement(call)
        deferred = self.program.enclosing(call, cst.FunctionDef, cst.Lambda)
        before = self.flow.set_before(self._entry_statement(statement))
        if deferred is not self.entry and isinstance(deferred, cst.FunctionDef):
            outer = [x for x in self.program.ancestors(call) if isinstance(x, cst.FunctionDef)][-2]
            before = self.flow.set_before(outer)
        unset = sorted(x for x in needs if x not in before and not self._is_target(statement, x))
        return f"{unset[0]} may not be set yet where it is called" if unset else ""

    def _entry_statement(self, statement: cst.BaseStatement) -> cst.BaseStatement:
        """Return the statement of the entry function's own body that a statement is in."""
        functions = [x for x in self.program.ancestors(statement) if isinstance(x, cst.FunctionDef)]
        return statement if len(functions) == 1 else functions[-2]

    def _is_target(self, statement: cst.BaseStatement, name: str) -> bool:
        """Tell whether a `for` statement sets a name before its body runs."""
        loops = [x for x in self.program.ancestors(statement) if isinstance(x, cst.For)]
        if isinstance(statement, cst.For):
            loops.append(statement)
        return any(x.value == name for loop in loops for x in walk(loop.target, cst.Name))

    def _shown(self, function: cst.CSTNode) -> str:
        return function.name.value if isinstance(function, cst.FunctionDef) else "a lambda"

    def _outlives(self, function: cst.FunctionDef, reads: dict[str, list[cst.Name]]) -> bool:
        """Tell whether a function may read a name after its call has returned."""
        if any(walk_own(function, cst.Yield)) or function.asynchronous is not None:
            return True
        return any(
            self.program.enclosing(use, cst.FunctionDef, cst.Lambda) is not function
            for uses in reads.values()
            for use in uses
        )

    def _is_settled(self, variable: str, name: str) -> bool:
        """Tell whether a variable is never set again once a definition may have been used."""
        stores = [x for x in self.program.occurrences(variable, self.entry) if not self.program.is_load(x)]
        looped = any(self.program.enclosing(x, cst.For, cst.While) is not None for x in stores)
        if looped or not stores:
            return not looped
        last = max(map(self.program.place, stores))
        reached = self._reaching(name)
        first = min(
            (
                self.program.place(self.program.statement(use))
                for user in reached
                for use in self.users[user]
                if self.program.definition(use) is self.entry
            ),
            default=(10**9, 0),
        )
        return last < first

    def _reaching(self, name: str) -> set[str]:
        """Return the definitions through which a definition may be used, itself included."""
        reached = {name}
        while True:
            more = {
                user.name.value
                for known in reached
                for use in self.users[known]
                if (user := self.program.definition(use)) is not None and user is not self.entry
            } - reached
            if not more:
                return reached
            reached |= more

    def _class_refusal(self, owner: cst.ClassDef) -> str:
        name = owner.name.value
        bases = [self.program.defined(x.value) for x in owner.bases]
        if any(base in self.definitions for base in bases):
            return f"it reads {', '.join(self.needs[name])}, and derives from a class of the program"
        initial = _method(owner, "__init__")
        taken = {x.name.value for x in walk(initial.params, cst.Param)} if initial is not None else set()
        scope = self.program.scopes.get(initial.body) if initial is not None else None
        own = {x.name for x in scope.assignments} if scope is not None else set()
        clash = sorted(set(self.needs[name]) & (taken | own))
        if clash:
            return f"its __init__ has a variable {clash[0]} of its own"
        for variable, uses in self.kept(owner).items():
            for use in uses:
                function = self.method_of(use, owner)
                if function is None or _self_name(function) is None:
                    return f"it reads {variable} where there is no object"
            if owner.bases and not self._is_plain(variable):
                return f"{variable} would become a part of its objects"
        return ""

    def kept(self, owner: cst.ClassDef) -> dict[str, list[cst.Name]]:
        """Return the uses outside of `__init__` of what a class needs, also through calls."""
        initial = _method(owner, "__init__")
        found: dict[str, list[cst.Name]] = {}
        for variable, uses in self.reads[owner.name.value].items():
            outside = [x for x in uses if initial is None or initial not in self.program.ancestors(x)]
            if outside:
                found[variable] = outside
        for other, uses in self.users.items():
            for use in uses:
                if owner in self.program.ancestors(use) and (
                    initial is None or initial not in self.program.ancestors(use)
                ):
                    for variable in self.needs[other]:
                        found.setdefault(variable, []).append(use)
        return found

    def method_of(self, node: cst.CSTNode, owner: cst.ClassDef) -> cst.FunctionDef | None:
        inside = [x for x in self.program.ancestors(node) if isinstance(x, cst.FunctionDef)]
        return inside[-1] if inside and self.program.parents[inside[-1]] is owner.body else None

    def _is_plain(self, variable: str) -> bool:
        """Tell whether a value can be an attribute of any object: no tensor, no module."""
        stores = [x for x in self.program.occurrences(variable, self.entry) if self.program.is_store(x)]
        for store in stores:
            target = self.program.parent(store)
            assignment = self.program.parent(target)
            if not (isinstance(target, cst.AssignTarget) and isinstance(assignment, cst.Assign)):
                return False
            if not self._is_plain_value(assignment.value):
                return False
        return bool(stores)

    def _is_plain_value(self, node: cst.BaseExpression) -> bool:
        match node:
            case cst.Call():
                name = self.program.imported(node.func) or ""
                method = node.func.attr.value if isinstance(node.func, cst.Attribute) else ""
                return name in _PLAIN_CALLS or method == "parse_args"
            case cst.IfExp():
                return self._is_plain_value(node.body) and self._is_plain_value(node.orelse)
            case cst.Tuple():
                return all(self._is_plain_value(x.value) for x in node.elements)
            case cst.BinaryOperation():
                return self._is_plain_value(node.left) and self._is_plain_value(node.right)
            case cst.BooleanOperation():
                return self._is_plain_value(node.left) and self._is_plain_value(node.right)
            case cst.Attribute():
                return self._is_plain_value(node.value)
            case cst.Name():
                return node.value in ("True", "False", "None") or (
                    node.value in self.variables and self._is_plain(node.value)
                )
        return isinstance(node, _PLAIN_NODES)

    # The change

    def changed(self) -> cst.Module:
        """Return the module with everything handed over."""
        module = self.module.visit(_Hander(self))
        return cst.ensure_type(module, cst.Module)


_PLAIN_NODES = (
    cst.Integer,
    cst.Float,
    cst.SimpleString,
    cst.ConcatenatedString,
    cst.FormattedString,
    cst.Comparison,
    cst.UnaryOperation,
    cst.Dict,
    cst.List,
    cst.Set,
)
_PLAIN_CALLS = frozenset(
    {
        "torch.device",
        "torch.accelerator.current_accelerator",
        "torch.cuda.is_available",
        "builtins.len",
        "builtins.int",
        "builtins.float",
        "builtins.str",
        "builtins.bool",
        "builtins.round",
        "os.path.join",
        "pathlib.Path",
        "os.environ.get",
    }
)


class _Hander(Tracer):
    """Adds the parameters and the arguments."""

    def __init__(self, closer: _Closer) -> None:
        super().__init__(closer.places)
        self.closer = closer
        self.kept = {
            name: closer.kept(x)
            for name, x in closer.definitions.items()
            if isinstance(x, cst.ClassDef) and closer.needs[name]
        }

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        """Hand over what the called definition needs."""
        func = original_node.func
        if not isinstance(func, cst.Name):
            return updated_node
        needs = self.closer.needs.get(func.value, ())
        if not needs or not any(func is x for x in self.closer.users[func.value]):
            return updated_node
        given = [cst.Arg(self._value(name, original_node)) for name in needs]
        if not updated_node.args:
            return updated_node.with_changes(args=given)
        comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
        return updated_node.with_changes(
            args=[*(x.with_changes(comma=comma) for x in given), *updated_node.args]
        )

    def _value(self, name: str, place: cst.CSTNode) -> cst.BaseExpression:
        """Return what a variable of the entry function is called in some place."""
        owner = self.closer.program.definition(place)
        if isinstance(owner, cst.ClassDef):
            method = self.closer.method_of(place, owner)
            if method is not None and method.name.value != "__init__":
                return cst.Attribute(cst.Name(_self_name(method) or "self"), cst.Name(name))
        return cst.Name(name)

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        """Read from the object what a class keeps."""
        owner = self.closer.program.definition(original_node)
        if not isinstance(owner, cst.ClassDef):
            return updated_node
        uses = self.kept.get(owner.name.value, {}).get(original_node.value, ())
        if not any(original_node is x for x in uses):
            return updated_node
        return self._value(original_node.value, original_node)

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.BaseStatement:
        """Add the parameters of a function, or of the `__init__` of a class."""
        name = original_node.name.value
        if self.closer.definitions.get(name) is original_node:
            return _with_parameters(updated_node, self.closer.needs[name], 0)
        owner = self.closer.program.definition(original_node)
        if not (isinstance(owner, cst.ClassDef) and owner.name.value in self.kept and name == "__init__"):
            return updated_node
        if self.closer.method_of(original_node.body, owner) is not original_node:
            return updated_node
        changed = _with_parameters(updated_node, self.closer.needs[owner.name.value], 1)
        return _keeping(changed, self.kept[owner.name.value])

    def leave_ClassDef(self, original_node: cst.ClassDef, updated_node: cst.ClassDef) -> cst.BaseStatement:
        """Give a class without `__init__` one that takes what it needs."""
        name = original_node.name.value
        if self.closer.definitions.get(name) is not original_node or not self.closer.needs.get(name):
            return updated_node
        if _method(original_node, "__init__") is not None or not isinstance(
            updated_node.body, cst.IndentedBlock
        ):
            return updated_node
        needs = self.closer.needs[name]
        lines = [f"    self.{x} = {x}" for x in needs]
        text = f"def __init__(self, {', '.join(needs)}, *args, **kwargs):\n"
        text += "\n".join(["    super().__init__(*args, **kwargs)", *lines]) + "\n"
        made = cst.parse_statement(text)
        body = list(updated_node.body.body)
        place = 1 if original_node.get_docstring() is not None else 0
        return updated_node.with_changes(
            body=updated_node.body.with_changes(body=[*body[:place], made, *body[place:]])
        )


def _with_parameters(function: cst.FunctionDef, names: tuple[str, ...], after: int) -> cst.FunctionDef:
    added = [cst.Param(cst.Name(name)) for name in names]
    held = function.params
    field = "posonly_params" if held.posonly_params else "params"
    old = list(getattr(held, field))
    comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    if after and len(old) >= after and old[after - 1].comma is cst.MaybeSentinel.DEFAULT:
        old[after - 1] = old[after - 1].with_changes(comma=comma)
    is_last = len(old) == after and not held.kwonly_params and not isinstance(held.star_arg, cst.Param)
    spaced = [x.with_changes(comma=cst.MaybeSentinel.DEFAULT if is_last else comma) for x in added]
    if is_last:
        spaced = [x.with_changes(comma=comma) for x in added[:-1]] + added[-1:]
    return function.with_changes(params=held.with_changes(**{field: [*old[:after], *spaced, *old[after:]]}))


def _keeping(function: cst.FunctionDef, kept: dict[str, list[cst.Name]]) -> cst.FunctionDef:
    if not kept or not isinstance(function.body, cst.IndentedBlock):
        return function
    own = _self_name(function) or "self"
    lines = [cst.parse_statement(f"{own}.{name} = {name}\n") for name in kept]
    body = list(function.body.body)
    place = 1 if function.get_docstring() is not None else 0
    return function.with_changes(body=function.body.with_changes(body=[*body[:place], *lines, *body[place:]]))


def _method(owner: cst.ClassDef, name: str) -> cst.FunctionDef | None:
    for statement in owner.body.body:
        if isinstance(statement, cst.FunctionDef) and statement.name.value == name:
            return statement
    return None


def _self_name(function: cst.FunctionDef) -> str | None:
    own = parameters(function)
    bare = any(
        isinstance(x.decorator, cst.Name) and x.decorator.value in ("staticmethod", "classmethod")
        for x in function.decorators
    )
    return own[0].name.value if own and not bare else None


def _arranged(module: cst.Module, entry: str, nested: frozenset[str], places: Places) -> cst.Module:
    """Return a module with some definitions moved to the start of the entry function."""
    if not nested:
        return module
    inside = _Nonlocal(places)
    moved = [
        changed
        for x in module.body
        if isinstance(x, cst.FunctionDef | cst.ClassDef) and x.name.value in nested
        if isinstance(changed := x.visit(inside), cst.FunctionDef | cst.ClassDef)
    ]
    body: list[cst.BaseStatement] = []
    for statement in module.body:
        name = statement.name.value if isinstance(statement, cst.FunctionDef | cst.ClassDef) else ""
        if name in nested:
            continue
        if isinstance(statement, cst.FunctionDef) and name == entry:
            made = [cst.parse_statement(f"{x} = None\n") for x in _never_set(statement, moved)]
            changed = statement.with_changes(
                body=statement.body.with_changes(body=[*made, *moved, *statement.body.body])
            )
            places.put(changed, statement)
            body.append(changed)
        else:
            body.append(statement)
    return module.with_changes(body=body)


def _never_set(entry: cst.FunctionDef, moved: Sequence[cst.CSTNode]) -> list[str]:
    """Return the names that moved functions set and the entry function does not: it must have them."""
    declared = {x.name.value for node in moved for y in walk(node, cst.Nonlocal) for x in y.names}
    kinds = cst.AssignTarget | cst.For | cst.AugAssign | cst.AnnAssign
    targets = [x.target for x in every(entry) if isinstance(x, kinds)]
    return sorted(declared - {x.value for target in targets for x in walk(target, cst.Name)})


class _Nonlocal(Tracer):
    """What was global is a variable of the entry function."""

    def leave_Global(self, original_node: cst.Global, updated_node: cst.Global) -> cst.BaseSmallStatement:
        """Name the variable of the function around it."""
        return cst.Nonlocal(names=updated_node.names)
