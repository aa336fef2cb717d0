"""Whether a definition can get handed what it reads, without a difference from reading it later.

A value that is handed over is that of the moment of the call; a global name is read when the line runs.
The two are the same unless the variable is set in between, is not set yet, or is hidden at the call.
"""

from __future__ import annotations

import libcst as cst

from bessemer.conversion.flow import Flow
from bessemer.conversion.normal.reading import Readings
from bessemer.conversion.program import Program
from bessemer.conversion.syntax import Definition, method_named, self_parameter, walk, walk_own

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
# Bases whose objects keep any attribute as it is; a module makes parts of itself of tensors and modules.
_PLAIN_BASES = frozenset({"builtins.object", "abc.ABC", "torch.utils.data.Dataset"})
# Attributes of torch.nn.Module that a class may not use for something else.
_MODULE_NAMES = frozenset(
    {"training", "forward", "parameters", "modules", "children", "buffers", "train", "eval", "to", "apply"}
    | {"cpu", "cuda", "type", "float", "double", "half", "bfloat16", "compile", "extra_repr"}
)


class Judge:
    """Says why a definition of a hoisted program cannot get handed what it reads.

    Attributes:
        unset: the variables that may be without a value where a definition that reads them is called.
    """

    def __init__(self, program: Program, readings: Readings) -> None:
        self.program = program
        self.readings = readings
        self.flow = Flow(program, readings.entry)
        self.unset: set[str] = set()

    def reason(self, definition: Definition) -> str:
        """Return why a definition has to stay with the variables that it reads; empty if it has not."""
        name = definition.name.value
        declared = sorted(x.name.value for node in walk(definition, cst.Global) for x in node.names)
        if declared:
            return f"it sets the global {', '.join(declared)}"
        needs = self.readings.needs[name]
        if not needs:
            return ""
        for use in self.readings.users[name]:
            reason = self._use(use, needs)
            if reason:
                return reason
        if isinstance(definition, cst.ClassDef):
            return self._lasting(name, needs) or self._class(definition)
        if self._outlives(definition) and (reason := self._lasting(name, needs)):
            return reason
        clash = sorted(set(needs) & self.program.own_names(definition.body))
        return f"it has a variable {clash[0]} of its own" if clash else ""

    def _use(self, use: cst.Name, needs: tuple[str, ...]) -> str:
        call = self.program.parent(use)
        if not (isinstance(call, cst.Call) and call.func is use):
            return f"it reads {', '.join(needs)}, and is itself used as a value"
        entry = self.readings.entry
        in_entry = self.program.definition(call) is entry
        own = self.program.scopes.get(entry.body)
        for scope, names in self.program.bound_around(call):
            if in_entry and scope is own:
                break
            if hidden := sorted(names & set(needs)):
                return f"{hidden[0]} is something else where it is called"
        if not in_entry:
            return ""
        before = self.flow.set_before(self._statement_of_entry(call))
        unset = sorted(x for x in needs if x not in before and not self._is_target(call, x))
        self.unset.update(unset)
        return f"{unset[0]} may not be set yet where it is called" if unset else ""

    def _statement_of_entry(self, node: cst.CSTNode) -> cst.BaseStatement:
        """Return the statement that a node is in; of a nested function, that function."""
        functions = [x for x in self.program.ancestors(node) if isinstance(x, cst.FunctionDef)]
        return self.program.statement(node) if len(functions) == 1 else functions[-2]

    def _is_target(self, node: cst.CSTNode, name: str) -> bool:
        """Tell whether a `for` statement around a node sets a name before its body runs."""
        loops = (x for x in self.program.ancestors(node) if isinstance(x, cst.For))
        return any(x.value == name for loop in loops for x in walk(loop.target, cst.Name))

    def _outlives(self, function: cst.FunctionDef) -> bool:
        """Tell whether a function may read a name after its call has returned."""
        if any(walk_own(function, cst.Yield)) or function.asynchronous is not None:
            return True
        reads = self.readings.reads[function.name.value].values()
        return any(
            self.program.enclosing(use, cst.FunctionDef, cst.Lambda) is not function
            for uses in reads
            for use in uses
        )

    def _lasting(self, name: str, needs: tuple[str, ...]) -> str:
        unsettled = (x for x in needs if not self._is_settled(x, name))
        changing = next(unsettled, None)
        return f"{changing} may be set again after {name} was made or called" if changing else ""

    def _is_settled(self, variable: str, name: str) -> bool:
        """Tell whether a variable is never set again once a definition may have been used."""
        entry = self.readings.entry
        stores = [x for x in self.program.occurrences(variable, entry) if not self.program.is_load(x)]
        if any(self.program.enclosing(x, cst.For, cst.While) is not None for x in stores):
            return False
        used = [
            self.program.place(self.program.statement(use))
            for user in self.readings.reaching(name)
            for use in self.readings.users[user]
            if self.program.definition(use) is entry
        ]
        return not stores or not used or max(map(self.program.place, stores)) < min(used)

    def _class(self, owner: cst.ClassDef) -> str:
        name = owner.name.value
        needs = self.readings.needs[name]
        if any(self.program.defined(x.value) in self.readings.definitions for x in owner.bases):
            return f"it reads {', '.join(needs)}, and derives from a class of the program"
        initial = method_named(owner, "__init__")
        own = self.program.own_names(initial.body) if initial is not None else frozenset()
        if clash := sorted(set(needs) & own):
            return f"its __init__ has a variable {clash[0]} of its own"
        for variable, uses in self.readings.kept(owner).items():
            methods = [self.readings.method_around(use) for use in uses]
            if any(method is None or self_parameter(method) is None for method in methods):
                return f"it reads {variable} where there is no object"
            if self._has_attribute(owner, variable):
                return f"its objects have a {variable} of their own"
            if self._may_be_module(owner) and not self._is_plain(variable):
                return f"{variable} would become a part of its objects"
        return ""

    def _has_attribute(self, owner: cst.ClassDef, name: str) -> bool:
        mentioned = {x.attr.value for x in walk(owner, cst.Attribute) if isinstance(x.value, cst.Name)}
        defined = {x.name.value for x in walk(owner.body, cst.FunctionDef)}
        assigned = {x.target.value for x in walk(owner, cst.AssignTarget) if isinstance(x.target, cst.Name)}
        is_inherited = self._may_be_module(owner) and name in _MODULE_NAMES
        return is_inherited or name in mentioned | defined | assigned

    def _may_be_module(self, owner: cst.ClassDef) -> bool:
        return any(self.program.imported(x.value) not in _PLAIN_BASES for x in owner.bases)

    def _is_plain(self, variable: str) -> bool:
        """Tell whether a value can be an attribute of any object: no tensor, no module."""
        stores = [
            x for x in self.program.occurrences(variable, self.readings.entry) if self.program.is_store(x)
        ]
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
                    node.value in self.readings.variables and self._is_plain(node.value)
                )
            case cst.Subscript(value=cst.Attribute(attr=cst.Name("shape"))):
                return True
        return isinstance(node, _PLAIN_NODES)
