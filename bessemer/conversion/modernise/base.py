"""What all rules share: what they are asked, what they answer, and how their cases look.

A rule is a module with `WORDS`, of which one must be in a text for the rule to be asked, `CASES`, and
`find`, which yields what it finds in a program.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import libcst as cst
from libcst import metadata

from bessemer.conversion.modernise.edits import Edit, Text
from bessemer.conversion.program import Program
from bessemer.conversion.syntax import NodeT


@dataclass(frozen=True)
class Noted:
    """One thing that modernising brought up.

    Attributes:
        line: of the text, from 1.
        code: the old form.
        after: the new form; empty unless it was changed.
        reason: why.
        todo: what its author can do, where only the author can say.
    """

    line: int
    code: str
    after: str
    reason: str
    todo: str = ""


@dataclass(frozen=True)
class Modern:
    """A text that was modernised.

    Attributes:
        text: with as many lines as before.
        changes: what was changed.
        questions: what only its author can say.
        left: what fails and was not changed.
    """

    text: str
    changes: tuple[Noted, ...] = ()
    questions: tuple[Noted, ...] = ()
    left: tuple[Noted, ...] = ()


@dataclass(frozen=True)
class Case:
    """One example of a rule: test and manual at once.

    Attributes:
        why: what it is an example of.
        before: the old form; what it computes is in `result`, if it computes something.
        after: what is made of it, or None where nothing may be changed.
        gives: an expression for what `result` must be in the end; empty if there is nothing to compare.
        fails: whether the old form fails with the versions that are installed; else it warns.
        asks: whether the author is asked something, or told that it was not converted.
        needs: what must be installed for it to be run.
        runs: False for an example that cannot be run here, such as one that needs a GPU.
    """

    why: str
    before: str
    after: str | None
    gives: str = ""
    fails: bool = True
    asks: bool = False
    needs: tuple[str, ...] = ()
    runs: bool = True


@dataclass(frozen=True, eq=False)
class Change:
    """A change that makes an old form run as it did.

    Attributes:
        node: what is shown as changed.
        edits: all of them are made, or none.
        reason: since when the old form fails, and why the new one is the same.
        imports: modules that are imported where these statements import something.
    """

    node: cst.CSTNode
    edits: tuple[Edit, ...]
    reason: str
    imports: tuple[tuple[cst.Import | cst.ImportFrom, str], ...] = ()


@dataclass(frozen=True, eq=False)
class Ask:
    """Something that only the author can say."""

    node: cst.CSTNode
    reason: str
    todo: str


@dataclass(frozen=True, eq=False)
class Leave:
    """An old form that is known, and that no rule can convert."""

    node: cst.CSTNode
    reason: str


Found = Change | Ask | Leave


@dataclass(frozen=True, eq=False)
class Code:
    """A file, as rules look at it."""

    program: Program
    text: Text

    def every(self, kind: type[NodeT]) -> list[NodeT]:
        """Return every node of a kind, in the order of the text."""
        return cast("list[NodeT]", self._by_kind.get(kind, []))

    @cached_property
    def _by_kind(self) -> dict[type[cst.CSTNode], list[cst.CSTNode]]:
        found: dict[type[cst.CSTNode], list[cst.CSTNode]] = {}
        for node in self.program.positions:  # one look at all nodes is enough for all rules
            found.setdefault(type(node), []).append(node)
        for nodes in found.values():
            nodes.sort(key=self.program.place)
        return found

    def calls(self) -> list[cst.Call]:
        """Return every call."""
        return self.every(cst.Call)

    @cached_property
    def _called(self) -> dict[cst.CSTNode, str]:
        return {}

    def called(self, call: cst.Call) -> str:
        """Return the full dotted name of what is called, or ""."""
        if call not in self._called:
            self._called[call] = self.program.imported(call.func) or ""
        return self._called[call]

    @cached_property
    def read(self) -> tuple[tuple[cst.Attribute, str], ...]:
        """Every dotted name that is read and means something imported, with its full name."""
        found = ((x, self.program.imported(x)) for x in self.every(cst.Attribute) if self.program.is_load(x))
        return tuple((node, name) for node, name in found if name is not None)

    def imports(self) -> Iterator[cst.ImportFrom]:
        """Yield every `from ... import` of another package that names what it imports."""
        for node in self.every(cst.ImportFrom):
            if not node.relative and not isinstance(node.names, cst.ImportStar):
                yield node

    def importing(self, node: cst.BaseExpression) -> cst.Import | cst.ImportFrom | None:
        """Return the import that binds the first name of a dotted name."""
        while isinstance(node, cst.Attribute):
            node = node.value
        bound = self.program.bindings(node) if isinstance(node, cst.Name) else ()
        return next((x for x in bound if isinstance(x, cst.Import | cst.ImportFrom)), None)

    def is_builtin(self, name: str, near: cst.CSTNode) -> bool:
        """Tell whether a name, written near a node, would mean what Python calls so."""
        scope = self.program.scopes.get(near)
        while scope is not None and not isinstance(scope, metadata.BuiltinScope):
            if any(x.name == name and x.scope is scope for x in scope.assignments):
                return False
            scope = scope.parent if scope.parent is not scope else None
        return True

    def has_method(self, name: str) -> bool:
        """Tell whether the file defines a function or method of this name, which a call could mean."""
        return any(x.name.value == name for x in self.every(cst.FunctionDef))
