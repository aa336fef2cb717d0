"""What a statement adds to a variable, and which variable's object a call or an assignment fills."""

from __future__ import annotations

import libcst as cst

from bessemer.conversion.attributes import FILLS
from bessemer.conversion.flow import Loop
from bessemer.conversion.inference import Kinds
from bessemer.conversion.kinds import NEVER_CARRIED
from bessemer.conversion.program import Program
from bessemer.conversion.syntax import assigned, walk

_ARRAYS = frozenset(f"numpy.{x}{y}" for x in ("zeros", "ones", "empty", "full") for y in ("", "_like"))


class Filling:
    """Answers for one program."""

    def __init__(self, program: Program, kinds: Kinds) -> None:
        self.program = program
        self.kinds = kinds

    def filled(self, node: cst.Call | cst.Subscript) -> cst.Name | None:
        """Return the local variable whose object a call or an assignment to an item changes."""
        func = node.func if isinstance(node, cst.Call) else node
        if not isinstance(func, cst.Attribute | cst.Subscript):
            return None
        receiver = func.value
        if not isinstance(receiver, cst.Name) or not self.program.is_load(receiver):
            return None
        if isinstance(func, cst.Subscript):
            changes = isinstance(node, cst.Subscript) and self.program.is_store(node)
        else:
            is_statement = isinstance(self.program.parent(node), cst.Expr)
            changes = is_statement and (func.attr.value in FILLS or self._is_own_object(receiver))
        if not changes or self.kinds.is_a(receiver, *NEVER_CARRIED):
            return None
        return self._item_of(receiver) if self.program.imported(receiver) is None else None

    def _item_of(self, name: cst.Name) -> cst.Name:
        """Return the variable whose items a `for` statement gives this name to, or the name itself.

        What `for one in lists` fills, or `for one, two in zip(...)`, is in the list that it goes over.
        """
        match self.program.bindings(name):
            case (cst.Name() as bound,):
                target: cst.CSTNode = bound
            case _:
                return name
        index: int | None = None
        outer = self.program.parent(target)
        if isinstance(outer, cst.Element):
            several = cst.ensure_type(self.program.parent(outer), cst.Tuple)
            index = [x.value for x in several.elements].index(bound)
            target, outer = several, self.program.parent(several)
        if not (isinstance(outer, cst.For) and outer.target is target):
            return name
        over: cst.BaseExpression | None = outer.iter
        if index is not None:
            is_zip = isinstance(over, cst.Call) and self.program.imported(over.func) == "builtins.zip"
            args = over.args if is_zip and isinstance(over, cst.Call) else ()
            over = args[index].value if index < len(args) else None
        return over if isinstance(over, cst.Name) else name

    def is_own(self, node: cst.CSTNode) -> bool:
        """Tell whether a call or an assignment changes an instance of one of the program's own classes."""
        receiver = self.filled(node) if isinstance(node, cst.Call | cst.Subscript) else None
        return receiver is not None and self._is_own_object(receiver)

    def _is_own_object(self, receiver: cst.Name) -> bool:
        """Tell whether a name holds an instance of one of the program's own classes."""
        for node in self.program.bindings(receiver):
            pair = assigned(self.program.statement(node)) if isinstance(node, cst.Name) else None
            if pair is not None and isinstance(pair[1], cst.Call):
                name = self.program.defined(pair[1].func)
                if isinstance(self.kinds.definitions.get(name or ""), cst.ClassDef):
                    return True
        return False

    def added(self, store: cst.Name) -> tuple[cst.BaseExpression, tuple[cst.Name, ...]] | None:
        """Return what `x += value` or `x = x + value` adds, and the reads of x that belong to it."""
        statement = self.program.parent(store)
        if isinstance(statement, cst.AugAssign) and isinstance(statement.operator, cst.AddAssign):
            own = tuple(x for x in walk(statement.value, cst.Name) if x.value == store.value)
            return None if own else (statement.value, (store,))
        if isinstance(statement, cst.AssignTarget):
            pair = assigned(self.program.statement(store))
            value = pair[1] if pair is not None and len(pair[0]) == 1 else None
            if isinstance(value, cst.BinaryOperation) and isinstance(value.operator, cst.Add):
                left, right = value.left, value.right
                names = [x for x in walk(value, cst.Name) if x.value == store.value]
                if isinstance(left, cst.Name) and left.value == store.value and len(names) == 1:
                    return right, (left,)
        return None

    def is_array(self, function: cst.FunctionDef, loop: Loop, name: str) -> bool:
        """Tell whether a variable holds an array that was made for it in front of a loop."""
        stores = [x for x in self.program.occurrences(name, function) if self.program.is_store(x)]
        pair = assigned(self.program.statement(stores[0])) if len(stores) == 1 else None
        made = pair[1] if pair is not None and len(pair[0]) == 1 else None
        is_made = isinstance(made, cst.Call) and self.program.imported(made.func) in _ARRAYS
        return is_made and self.program.before(stores[0], loop)
