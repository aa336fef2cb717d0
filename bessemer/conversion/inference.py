"""What kind of thing an expression of the research code is: a model, an optimizer, a loader, ...

The converter acts on a name only when it can say what the name holds. Kinds are followed through
assignments, tuples, conditional expressions, parameters, attributes of the program's own objects, and the
returns of its own functions and methods; whatever cannot be followed has no kind, and the callers of this
module are careful then.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

import libcst as cst
from libcst import matchers as m

from bessemer.conversion.copies import COPIES
from bessemer.conversion.definitions import Definitions
from bessemer.conversion.depth import deep
from bessemer.conversion.kinds import (
    BARS,
    Kind,
    Value,
    element_of,
    item_of,
    joined,
    kind_made_by,
    several,
    together,
)
from bessemer.conversion.making import LISTINGS, listed, looked_up
from bessemer.conversion.program import Program
from bessemer.conversion.syntax import (
    argument,
    is_decorated,
    parameters,
    passed,
    self_parameter,
    walk,
    walk_own,
)

_SAME_AFTER = frozenset(
    {"to", "cuda", "cpu", "float", "double", "half", "bfloat16", "train", "eval", "apply"}
    | {"requires_grad_", "share_memory"}
)
WRAPPERS = frozenset({"torch.compile", "torch.jit.script"})
_DEVICE_WORDS = ("cuda", "cpu", "mps", "xpu")
_NO_DEPTH = sys.maxsize


class Kinds:
    """Answers what kind of thing an expression is. Results are remembered; nothing is changed."""

    def __init__(self, program: Program, settings: Iterable[cst.CSTNode] = ()) -> None:
        """`settings` are the names and parameters known to hold the parsed options."""
        self._program = program
        self._settings = frozenset(settings)
        self._known: dict[cst.CSTNode, Value | None] = {}
        # Questions that are being answered, by depth, and the least depth that the last answers hung on.
        self._open: dict[cst.CSTNode, int] = {}
        self._least = _NO_DEPTH
        self._partial: dict[cst.CSTNode, tuple[Value | None, int]] = {}
        self.definitions = Definitions(program)
        self.calls: dict[str, list[cst.Call]] = {name: [] for name in self.definitions}
        for call in walk(program.module, cst.Call):
            called = self.definitions.named(call.func)
            if called is not None:
                self.calls[called.name.value].append(call)
        self._stores: dict[str, list[cst.Attribute]] = defaultdict(list)
        self._by_method: dict[str, list[cst.Call]] = defaultdict(list)
        for node in walk(program.module, cst.Attribute):
            if program.is_store(node):
                self._stores[node.attr.value].append(node)
            outer = program.parent(node)
            if isinstance(outer, cst.Call) and outer.func is node:
                self._by_method[node.attr.value].append(outer)

    def of(self, node: cst.CSTNode) -> Value | None:
        """Return the kind of an expression, a name being bound or a parameter; None if unknown."""
        if node in self._known:
            return self._known[node]
        if not self._open:
            with deep():
                return self._answer(node)
        return self._answer(node)

    def _answer(self, node: cst.CSTNode) -> Value | None:
        """Answer what is not known yet, as far as the questions that are open allow."""
        if node in self._open:
            self._least = min(self._least, self._open[node])
            return None
        if node in self._partial:
            value, least = self._partial[node]
            self._least = min(self._least, least)
            return value
        depth, outer, num_partial = len(self._open), self._least, len(self._partial)
        self._open[node], self._least = depth, _NO_DEPTH
        value = self._infer(node)
        del self._open[node]
        # What was found while a cycle was cut may be incomplete, except where the cycle began. It serves
        # until the cycle is closed: to follow all ways around it each time would take for ever.
        inside = list(self._partial)[num_partial:] if len(self._partial) > num_partial else []
        if self._least < depth:
            self._partial[node] = value, self._least
            self._partial.update((x, (self._partial[x][0], self._least)) for x in inside)
            self._least = min(self._least, outer)
            return value
        for x in inside:
            del self._partial[x]
        self._known[node] = value
        self._least = outer
        return value

    def is_a(self, node: cst.CSTNode, *kinds: Kind) -> bool:
        """Tell whether an expression is known to be of one of these kinds."""
        value = self.of(node)
        return value is not None and value.kind in kinds

    def _infer(self, node: cst.CSTNode) -> Value | None:
        if node in self._settings:
            return Value(Kind.SETTINGS)
        match node:
            case cst.Name() | cst.Attribute() if self._program.is_store(node):
                bound = self._bound(node)
                if bound == Value(Kind.TUPLE):
                    return self._appended(node) or bound
                return bound or self._made_trainable(node) or self._used_as_model(node)
            case cst.Attribute():
                return self._attribute(node)
            case cst.Integer():
                return Value(Kind.NUMBER)
            case cst.Name() if node.value == "None":
                return Value(Kind.NOTHING)
            case cst.Name():
                return joined(self.of(found) for found in self._program.bindings(node))
            case cst.Param():
                return self._parameter(node)
            case cst.Call():
                return self._call(node)
            case cst.IfExp():
                return joined((self.of(node.body), self.of(node.orelse)))
            case cst.Subscript(slice=[cst.SubscriptElement(slice=cst.Index(value=cst.Integer() as index))]):
                return item_of(self.of(node.value), [index.evaluated_value])
            case cst.Subscript(slice=[cst.SubscriptElement(slice=cst.Index())]):
                return element_of(self.of(node.value))
            case cst.Tuple() | cst.List():
                return Value(Kind.TUPLE, items=tuple(self.of(x.value) for x in node.elements))
            case cst.ListComp() | cst.GeneratorExp():
                return several(self.of(node.elt))
            case cst.DictComp():
                return several(self.of(node.value))
            case cst.Dict() if node.elements:
                values = [self.of(x.value) for x in node.elements]
                return None if None in values else several(joined(values))
            case cst.SimpleString():
                text = str(node.evaluated_value)
                named = text.split(":")[0] in _DEVICE_WORDS
                return Value(Kind.DEVICE_NAME) if named else None
            case cst.FormattedString(parts=[cst.FormattedStringText(value="cuda:" | "cuda" | "cpu"), *_]):
                return Value(Kind.DEVICE_NAME)
        return None

    def _attribute(self, node: cst.Attribute) -> Value | None:
        """Follow an attribute of one of the program's own objects to what is stored in it."""
        value = self.of(node.value)
        if value is None or not (value.kind is Kind.SETTINGS or value.owner or value.kind is Kind.OBJECT):
            return None
        return self.attribute(value, node.attr.value)

    def variable(self, node: cst.CSTNode) -> Value | None:
        """Return what a variable may hold, whichever statement gave it its value."""
        bound = self._program.bindings(node) if isinstance(node, cst.Name) else (node,)
        return joined(self.of(x) for x in bound)

    def attribute(self, value: Value, name: str) -> Value | None:
        """Return what an attribute of an object is known to hold."""
        return joined(self.of(store) for store in self.stores(value, name))

    def _made_trainable(self, node: cst.Name | cst.Attribute) -> Value | None:
        """Tell whether the line `w.requires_grad_()` follows somewhere in the same function."""
        name, function = self._program.code(node), self._program.function(node)
        found = frozenset(
            call
            for call in self._by_method.get("requires_grad_", ())
            if isinstance(call.func, cst.Attribute)
            and isinstance(self._program.parent(call), cst.Expr)
            and self._program.function(call) is function
            and self._program.code(call.func.value) == name
        )
        return Value(Kind.PARAMETER, found) if found else None

    def _appended(self, node: cst.Name | cst.Attribute) -> Value | None:
        """Return what is appended to a list that begins empty, in the same function or class."""
        name, definition = self._program.code(node), self._program.definition(node)
        values = [
            self.of(call.args[0].value)
            for call in self._by_method.get("append", ())
            if isinstance(call.func, cst.Attribute)
            and self._program.definition(call) is definition
            and self._program.code(call.func.value) == name
            and call.args
        ]
        return None if None in values else several(joined(values))

    def _used_as_model(self, node: cst.Name | cst.Attribute) -> Value | None:
        """Tell whether something unknown is a model: its function asks for its `parameters()`."""
        statement = self._program.parents.get(self._program.parent(node))
        made = statement.value if isinstance(statement, cst.Assign) else None
        if not isinstance(made, cst.Call) or call_of(made, *_SAME_AFTER) is not None:
            return None
        name, function = self._program.code(node), self._program.function(node)
        asked = any(
            isinstance(call.func, cst.Attribute)
            and self._program.function(call) is function
            and self._program.code(call.func.value) == name
            for call in self._by_method.get("parameters", ())
        )
        return Value(Kind.MODULE, frozenset({made})) if asked and not self._known_elsewhere(made) else None

    def _known_elsewhere(self, call: cst.Call) -> bool:
        """Tell whether a call is known to make something, or runs the program's own code."""
        return self.of(call) is not None or self.callee(call) is not None

    def stores(self, value: Value, name: str) -> list[cst.Attribute]:
        """Return where the program sets an attribute of an object."""
        return [x for x in self._stores.get(name, ()) if self.is_same_object(value, self.of(x.value))]

    def attributes(self, value: Value) -> list[str]:
        """Return the attributes of an object that the program sets, in the order of the file."""
        return [name for name in self._stores if self.stores(value, name)]

    def is_same_object(self, one: Value, other: Value | None) -> bool:
        """Tell whether two values may be the same object: of one class, or made in one place."""
        if other is None or one.kind is not other.kind:
            return False
        if one.kind is Kind.SETTINGS:
            return True
        if one.owner is not None and other.owner is not None:
            return other.owner in self.definitions.lineage(
                one.owner
            ) or one.owner in self.definitions.lineage(other.owner)
        return one.owner is other.owner and bool(one.origins & other.origins)

    def callee(self, call: cst.Call) -> cst.FunctionDef | None:
        """Return the function or method of the program that a call runs; of a class, its `__init__`."""
        func = call.func
        definition = self.definitions.named(func)
        if isinstance(definition, cst.ClassDef):
            return self.definitions.method(definition, "__init__")
        if definition is not None:
            return definition
        if isinstance(func, cst.Attribute):
            owner = self.definitions.named(func.value)
            if isinstance(owner, cst.ClassDef):
                return self.definitions.method(owner, func.attr.value)
            value = self.of(func.value)
            return (
                self.definitions.method(value.owner, func.attr.value)
                if value is not None and value.owner
                else None
            )
        bound = self._program.bindings(func) if isinstance(func, cst.Name) else ()
        nested = bound[0] if len(bound) == 1 else None
        return nested if isinstance(nested, cst.FunctionDef) else None

    def callers(self, function: cst.FunctionDef) -> list[cst.Call]:
        """Return the calls of a function or method of the program, as far as they can be followed."""
        name = function.name.value
        owner: cst.CSTNode | None = self._program.enclosing(function, cst.ClassDef, cst.FunctionDef)
        if owner is None:
            return self.calls.get(name, [])
        if isinstance(owner, cst.FunctionDef):
            inside = walk(owner.body, cst.Call)
            return [x for x in inside if isinstance(x.func, cst.Name) and x.func.value == name]
        if name == "__init__" and isinstance(owner, cst.ClassDef):
            return self.calls.get(owner.name.value, [])
        return [x for x in self._by_method.get(name, ()) if self.callee(x) is function]

    def _bound(self, name: cst.Name | cst.Attribute) -> Value | None:
        """Follow a name or attribute that is written to what is written into it."""
        path: list[int] = []
        node: cst.CSTNode = name
        for outer in self._program.ancestors(name):
            if isinstance(outer, cst.Tuple | cst.List):
                path.append([element.value for element in outer.elements].index(node))  # type: ignore[arg-type]
            elif isinstance(outer, cst.Assign | cst.AnnAssign):
                value = self.of(outer.value) if outer.value is not None else None
                return item_of(value, path)
            elif isinstance(outer, cst.NamedExpr):
                return self.of(outer.value)
            elif isinstance(outer, cst.For | cst.CompFor):
                return item_of(element_of(self.of(outer.iter)), path)
            elif not isinstance(outer, cst.Element | cst.AssignTarget):
                return None
            if not isinstance(outer, cst.Element):
                node = outer
        return None

    def arguments(self, parameter: cst.Param) -> list[cst.BaseExpression]:
        """Return what the calls in this program pass for a parameter."""
        return [value for value in self._arguments(parameter) if value is not None]

    def _parameter(self, parameter: cst.Param) -> Value | None:
        own = self._own_class(parameter)
        if own is not None:
            return self._instance(own, frozenset(self.calls.get(own.name.value, ())))
        values = self._arguments(parameter)
        given = [self.of(value) for value in values if value is not None]
        if parameter.default is not None and len(given) < len(values):
            given.append(self.of(parameter.default))
        return joined(given)

    def _arguments(self, parameter: cst.Param) -> list[cst.BaseExpression | None]:
        function = self._program.parent(self._program.parent(parameter))
        if not isinstance(function, cst.FunctionDef):
            return []
        named = parameters(function)
        index = next((i for i, x in enumerate(named) if x is parameter), None)
        calls = self.callers(function)
        places = (-1 if index is None else index - self._num_bound(function, x) for x in calls)
        return [passed(x, parameter.name.value, i) for x, i in zip(calls, places, strict=True)]

    def _num_bound(self, function: cst.FunctionDef, call: cst.Call) -> int:
        """Return how many first parameters of a function a call gives without writing them down."""
        owner = self._program.enclosing(function, cst.ClassDef, cst.FunctionDef)
        if not isinstance(owner, cst.ClassDef) or is_decorated(function, "staticmethod"):
            return 0
        # `Net.forward(net, x)` writes down the object.
        through_class = (
            isinstance(call.func, cst.Attribute) and self.definitions.named(call.func.value) is not None
        )
        return 0 if through_class and not is_decorated(function, "classmethod") else 1

    def _own_class(self, parameter: cst.Param) -> cst.ClassDef | None:
        """Return the class whose objects a parameter is, if it is the first of a method."""
        function = self._program.parent(self._program.parent(parameter))
        if not isinstance(function, cst.FunctionDef):
            return None
        owner = self._program.enclosing(function, cst.ClassDef, cst.FunctionDef)
        if not isinstance(owner, cst.ClassDef) or self.definitions.get(owner.name.value) is not owner:
            return None
        is_first = parameters(function)[0] is parameter and self_parameter(function) is not None
        return owner if is_first else None

    def _instance(self, owner: cst.ClassDef, origins: frozenset[cst.Call]) -> Value:
        kind = Kind.OBJECT
        if self.definitions.is_module_class(owner):
            kind = Kind.MODULE
        elif self.definitions.is_dataset_class(owner):
            kind = Kind.DATASET
        return Value(kind, origins, owner=owner)

    def _call(self, call: cst.Call) -> Value | None:
        imported = self._program.imported(call.func) or looked_up(self._program, call.func)
        if imported is not None:
            return self._imported_call(call, imported)
        definition = self.definitions.named(call.func)
        if isinstance(definition, cst.ClassDef):
            return self._instance(definition, frozenset({call}))
        function = self.callee(call)
        if function is not None:
            returns = [x.value for x in walk_own(function, cst.Return) if x.value is not None]
            return joined(self.of(value) for value in returns)
        if isinstance(call.func, cst.Attribute) and call.func.attr.value in ("values", "items"):
            held = self.of(call.func.value)
            is_items = call.func.attr.value == "items"
            return together([None, held]) if is_items and held is not None else held
        if isinstance(call.func, cst.Attribute) and call.func.attr.value in _SAME_AFTER:
            value = self.of(call.func.value)
            if value is not None and value.kind in (Kind.MODULE, Kind.CRITERION):
                return value
            if call.func.attr.value == "requires_grad_" and value is None:
                return Value(Kind.PARAMETER, frozenset({call}))
        return None

    def _imported_call(self, call: cst.Call, name: str) -> Value | None:
        here = frozenset({call})
        if name in WRAPPERS | COPIES and call.args:
            value = self.of(call.args[0].value)
            is_new = name in COPIES and value is not None and value.kind is Kind.MODULE
            return replace(value, origins=here) if value is not None and is_new else value
        if name in BARS and call.args:
            return Value(Kind.BAR, items=(self.of(call.args[0].value),))
        if name == "builtins.iter" and call.args:
            return Value(Kind.BATCHES, here) if self.is_a(call.args[0].value, Kind.LOADER) else None
        if name in LISTINGS and call.args:
            return listed(name, [self.of(x.value) for x in call.args if x.keyword is None and not x.star])
        if name == "builtins.int" and call.args and isinstance(call.args[0].value, cst.SimpleString):
            return Value(Kind.NUMBER)
        if name.startswith("torch.") and _is_true(argument(call, "requires_grad")):
            return Value(Kind.PARAMETER, here)
        kind = kind_made_by(name)
        return Value(kind, here) if kind is not None else None


def _is_true(node: cst.BaseExpression | None) -> bool:
    return isinstance(node, cst.Name) and node.value == "True"


def call_of(node: cst.CSTNode, *methods: str) -> cst.Attribute | None:
    """Return `receiver.method` if `node` is a call of one of these methods, else None."""
    if m.matches(node, m.Call(func=m.Attribute())):
        func = cst.ensure_type(cst.ensure_type(node, cst.Call).func, cst.Attribute)
        return func if func.attr.value in methods else None
    return None
