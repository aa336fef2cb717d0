"""Where a value comes from: the calls and literals that an expression may stand for.

Values are followed through assignments, tuples, parameters, attributes, returns and what gives its
argument back (`run.place`, `model.to`). What cannot be followed has no origin, and whoever asks is careful
then. Unlike `inference`, which serves the converter, this one crosses files and enters classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import libcst as cst

from bessemer.conversion.codebase import Codebase
from bessemer.conversion.syntax import parameters, walk, walk_own

Found = frozenset[cst.CSTNode]
Path = tuple[int, ...]
Step = tuple[cst.CSTNode, Path]

_SAME_OBJECT = frozenset(
    {"to", "cuda", "cpu", "float", "double", "half", "bfloat16", "train", "eval", "apply", "requires_grad_"}
)
_SAME_VALUE = frozenset({"torch.compile", "torch.jit.script"})
RUN_METHODS = frozenset({"loader", "stream", "epochs", "steps", "carry", "last", "totals", "track", "place"})
_NOTHING: Found = frozenset()
# How deep tuples in tuples are followed (`x = x[0]` has no end), and questions inside of questions.
_MAX_PATH = 4
_MAX_DEPTH = 40


class Origins:
    """Answers where values come from, and which functions calls mean. Results are remembered."""

    def __init__(self, code: Codebase) -> None:
        self.code = code
        self._known: dict[tuple[cst.CSTNode, Path], Found] = {}
        self._open: set[tuple[cst.CSTNode, Path]] = set()
        self._num_cuts = 0
        self._callers: dict[cst.FunctionDef, list[cst.Call]] = {}
        self._kept: dict[cst.ClassDef, dict[str, list[tuple[cst.BaseExpression, Path]]]] = {}
        self._methods = {x.name.value for x in code.functions() if code.owner(x) is not None}
        self._find_attributes()
        # Twice: objects whose methods are called are followed through parameters, which need callers.
        self._find_callers(deep=False)
        self._find_callers(deep=True)

    def callers(self, function: cst.FunctionDef) -> Sequence[cst.Call]:
        """Return the calls that mean a function."""
        return self._callers.get(function, ())

    def function(self, call: cst.Call, deep: bool = True) -> cst.FunctionDef | None:
        """Return the function of these files that a call runs, or None if that is not known."""
        found = self.code.meant(call.func)
        if isinstance(found, cst.FunctionDef):
            return found
        if isinstance(found, cst.ClassDef):
            return self.code.method(found, "__init__")
        if not isinstance(call.func, cst.Attribute) or call.func.attr.value not in self._methods:
            return None
        classes = self.classes(call.func.value) if deep else self._own_class(call.func.value)
        methods = {self.code.method(x, call.func.attr.value) for x in classes} - {None}
        return methods.pop() if len(methods) == 1 else None

    def classes(self, node: cst.BaseExpression) -> list[cst.ClassDef]:
        """Return the classes of these files that an object may be of."""
        own = self._own_class(node)
        if own:
            return own
        found = [self.code.meant(x.func) for x in self.of(node) if isinstance(x, cst.Call)]
        return [x for x in found if isinstance(x, cst.ClassDef)]

    def _own_class(self, node: cst.CSTNode) -> list[cst.ClassDef]:
        function = self.code.around(node)
        if function is None or not isinstance(node, cst.Name):
            return []
        owner = self.code.owner(function)
        return [owner] if owner is not None and node.value == self.code.self_name(function) else []

    def arguments(
        self, function: cst.FunctionDef, call: cst.Call
    ) -> Iterator[tuple[str, cst.BaseExpression]]:
        """Yield the parameters that a call binds, each with what it is given."""
        names = [x.name.value for x in parameters(function)]
        if self.code.self_name(function) is not None:
            first = names.pop(0)
            if isinstance(call.func, cst.Attribute) and function.name.value != "__init__":
                yield first, call.func.value
        for place, arg in enumerate(call.args):
            if arg.star:
                return
            if arg.keyword is not None:
                yield arg.keyword.value, arg.value
            elif place < len(names):
                yield names[place], arg.value

    def is_run(self, node: cst.BaseExpression) -> bool:
        """Tell whether an expression is the run: by its name, its annotation, or `current_run()`."""
        last = node.attr if isinstance(node, cst.Attribute) else node
        if isinstance(last, cst.Name) and last.value.strip("_") in ("run", "bessemer_run"):
            return True
        if isinstance(node, cst.Name):
            for bound in self.code.bindings(node):
                held = self.code.parents.get(bound) if isinstance(bound, cst.Name) else bound
                if isinstance(held, cst.Param) and held.annotation is not None:
                    return self.code.code(held.annotation.annotation).strip("\"'").endswith("Run")
        return any((self.called(x) or "").endswith("current_run") for x in self.of(node))

    def called(self, node: cst.CSTNode) -> str | None:
        """Return the full name of what a call calls; `run.loader` for methods of the run."""
        if not isinstance(node, cst.Call):
            return None
        func = node.func
        if isinstance(func, cst.Attribute) and func.attr.value in RUN_METHODS and self.is_run(func.value):
            return f"run.{func.attr.value}"
        return self.code.imported(func)

    def of(self, node: cst.CSTNode, path: Path = ()) -> Found:
        """Return what an expression may stand for; with a path, the item there of a tuple."""
        key = (node, path)
        if key in self._known:
            return self._known[key]
        if key in self._open or len(self._open) > _MAX_DEPTH:
            self._num_cuts += 1
            return _NOTHING
        self._open.add(key)
        num_cuts = self._num_cuts
        found = self._search(key)
        self._open.discard(key)
        # What was found while a cycle was cut may be incomplete, except where the cycle began.
        if not self._open or self._num_cuts == num_cuts:
            self._known[key] = found
        return found

    def _search(self, start: Step) -> Found:
        """Go from a value to those that it may be a copy of, until there is nowhere to go."""
        found: set[cst.CSTNode] = set()
        seen, waiting = {start}, [start]
        while waiting:
            node, path = waiting.pop()
            steps = self._steps(node, path)
            if steps is None:
                found |= {node} if not path else set()
                continue
            for step in steps:
                if step not in seen and len(step[1]) <= _MAX_PATH:
                    seen.add(step)
                    waiting.append(step)
        return frozenset(found)

    def _steps(self, node: cst.CSTNode, path: Path) -> list[Step] | None:
        """Return what an expression stands for; None if it is an origin itself."""
        match node:
            case cst.Name():
                return [(x, (*p, *path)) for x, p in self._values(node)]
            case cst.Attribute():
                kept = [self._kept_by(x, node.attr.value) for x in self.classes(node.value)]
                return [(x, (*p, *path)) for found in kept for x, p in found]
            case cst.Call():
                return self._call(node, path)
            case cst.IfExp():
                return [(node.body, path), (node.orelse, path)]
            case cst.BooleanOperation():
                return [(node.left, path), (node.right, path)]
            case cst.NamedExpr():
                return [(node.value, path)]
            case cst.Tuple() | cst.List() if path:
                inside = node.elements if path[0] < 0 else node.elements[path[0] : path[0] + 1]
                return [(x.value, path[1:]) for x in inside]
            case cst.Dict() if path:
                return [(x.value, path[1:]) for x in node.elements]
            case cst.Subscript():
                return [(node.value, (-1, *path)), *self._stored_items(node.value, path)]
        return None

    def _call(self, node: cst.Call, path: Path) -> list[Step] | None:
        called, func = self.called(node), node.func
        if (called == "run.place" or called in _SAME_VALUE) and node.args:
            return [(node.args[0].value, path)]
        if isinstance(func, cst.Attribute) and func.attr.value in _SAME_OBJECT:
            return [(func.value, path)]
        function = self.function(node)
        if function is None or function.name.value == "__init__" or self.code.is_generator(function):
            return None
        returns = walk_own(function, cst.Return)
        return [(x.value, path) for x in returns if x.value is not None]

    def _values(self, name: cst.Name) -> Iterator[Step]:
        """Yield what is assigned to a name, wherever that is."""
        for bound in self.code.bindings(name):
            parent = self.code.parents.get(bound)
            param = bound if isinstance(bound, cst.Param) else parent
            if isinstance(param, cst.Param):
                yield from self._given(param)
            elif isinstance(bound, cst.Name):
                yield from self._assigned(bound)

    def _given(self, param: cst.Param) -> Iterator[Step]:
        function = self.code.around(param)
        if function is None:
            return
        for call in self.callers(function):
            for name, value in self.arguments(function, call):
                if name == param.name.value:
                    yield value, ()

    def _assigned(self, target: cst.BaseExpression) -> Iterator[tuple[cst.BaseExpression, Path]]:
        """Yield the value that an assignment gives to a target, also inside a tuple of targets."""
        node: cst.CSTNode = target
        path: list[int] = []
        holder = self.code.parents.get(node)
        while isinstance(holder, cst.Element | cst.Tuple | cst.List):
            if isinstance(holder, cst.Tuple | cst.List):
                path.insert(0, next(i for i, x in enumerate(holder.elements) if x is node))
            node, holder = holder, self.code.parents.get(holder)
        match holder:
            case cst.AssignTarget():
                statement = self.code.parents[holder]
                if isinstance(statement, cst.Assign):
                    yield statement.value, tuple(path)
            case cst.AnnAssign() if holder.value is not None and holder.target is node:
                yield holder.value, tuple(path)
            case cst.NamedExpr() if holder.target is node:
                yield holder.value, tuple(path)
            case cst.AsName():
                item = self.code.parents.get(holder)
                if isinstance(item, cst.WithItem):
                    yield item.item, tuple(path)
            case cst.For() | cst.CompFor() if holder.target is node:
                yield holder.iter, (-1, *path)

    def _stored_items(self, holder: cst.BaseExpression, path: Path) -> list[Step]:
        """Return what is put into a dictionary item by item: `d[k] = value`."""
        function = self.code.around(holder)
        if not isinstance(holder, cst.Name) or function is None:
            return []
        return [
            (value, path)
            for x in walk(function, cst.AssignTarget)
            if isinstance(x.target, cst.Subscript)
            and isinstance(x.target.value, cst.Name)
            and x.target.value.value == holder.value
            for value, _ in self._assigned(x.target)
        ]

    def _kept_by(self, owner: cst.ClassDef, name: str) -> list[tuple[cst.BaseExpression, Path]]:
        return [x for base in self.code.bases(owner) for x in self._kept.get(base, {}).get(name, ())]

    def _find_attributes(self) -> None:
        for node in self.code.every(cst.Attribute):
            if isinstance(node, cst.Attribute) and self.code.is_store(node):
                for owner in self._own_class(node.value):
                    kept = self._kept.setdefault(owner, {}).setdefault(node.attr.value, [])
                    kept += self._assigned(node)

    def _find_callers(self, deep: bool) -> None:
        found: dict[cst.FunctionDef, list[cst.Call]] = {}
        for call in self.code.calls():
            function = self.function(call, deep)
            if function is not None:
                found.setdefault(function, []).append(call)
        self._callers = found
        self._known.clear()
