"""Who reads what: variables of the entry function that definitions read, by themselves or through others."""

from __future__ import annotations

import libcst as cst

from bessemer.conversion.normal.names import find_names
from bessemer.conversion.program import Program
from bessemer.conversion.syntax import Definition, is_method, method_named, walk


class Readings:
    """What the definitions of a hoisted program read of what its entry function sets.

    Attributes:
        program: the program.
        entry: its entry function.
        variables: names of the variables of the entry function.
        definitions: the functions and classes at module level but for the entry function, by name.
        users: for each of them, where it is named; annotations do not count.
        reads: for each of them, its own reads of variables, in the order of the file.
        needs: for each of them, the variables that it reads by itself or through what it uses.
    """

    def __init__(self, program: Program, entry: str) -> None:
        self.program = program
        tops = [x for x in program.module.body if isinstance(x, cst.FunctionDef | cst.ClassDef)]
        self.entry = next(x for x in tops if isinstance(x, cst.FunctionDef) and x.name.value == entry)
        self.definitions: dict[str, Definition] = {x.name.value: x for x in tops if x is not self.entry}
        self.variables = program.own_names(self.entry.body)
        self._uses = find_names(program.module).uses
        self.users = {
            name: [x for x in self._counted(name) if x is not definition.name and not self._only_asks(x)]
            for name, definition in self.definitions.items()
        }
        self.reads = {name: self._reads(x) for name, x in self.definitions.items()}
        self.needs = self._all_needs()

    def _counted(self, name: str) -> list[cst.Name]:
        uses = self._uses.get(name, ())
        return [x for x in uses if self.program.enclosing(x, cst.Annotation) is None]

    def _only_asks(self, use: cst.Name) -> bool:
        """Tell whether a class is named as a type alone, as in `super(Net, self)` or `isinstance(x, Net)`."""
        arg = self.program.parent(use)
        call = self.program.parents.get(arg)
        if not (isinstance(arg, cst.Arg) and isinstance(call, cst.Call)):
            return False
        name = self.program.imported(call.func)
        position = {"builtins.super": 0, "builtins.isinstance": 1, "builtins.issubclass": 1}.get(name or "")
        return position is not None and len(call.args) > position and call.args[position] is arg

    def _reads(self, definition: Definition) -> dict[str, list[cst.Name]]:
        held = set(walk(definition, cst.Name))
        found = {
            name: sorted((x for x in self._counted(name) if x in held), key=self.program.place)
            for name in self.variables
        }
        first = {name: self.program.place(uses[0]) for name, uses in found.items() if uses}
        return {name: found[name] for name in sorted(first, key=first.__getitem__)}

    def _all_needs(self) -> dict[str, tuple[str, ...]]:
        needs = {name: dict.fromkeys(reads) for name, reads in self.reads.items()}
        num_known = -1
        while num_known != (num_known := sum(map(len, needs.values()))):
            for name in self.definitions:
                for user in self.users_of(name):
                    needs[user].update(needs[name])
        return {name: tuple(found) for name, found in needs.items()}

    def users_of(self, name: str) -> set[str]:
        """Return the definitions that name another one."""
        found = (self.program.definition(use) for use in self.users[name])
        return {x.name.value for x in found if x is not None and x is not self.entry}

    def reaching(self, name: str) -> set[str]:
        """Return the definitions through which one may be used, itself included."""
        reached: set[str] = set()
        waiting = {name}
        while waiting:
            reached |= waiting
            waiting = {user for known in waiting for user in self.users_of(known)} - reached
        return reached

    def kept(self, owner: cst.ClassDef) -> dict[str, list[cst.Name]]:
        """Return where a class needs a variable after `__init__`, by itself or for what it uses."""
        initial = method_named(owner, "__init__")
        found: dict[str, list[cst.Name]] = {}

        def add(variable: str, use: cst.Name) -> None:
            outer = list(self.program.ancestors(use))
            if owner in outer and initial not in outer:
                found.setdefault(variable, []).append(use)

        for variable, uses in self.reads[owner.name.value].items():
            for use in uses:
                add(variable, use)
        for other, uses in self.users.items():
            for use in uses:
                for variable in self.needs[other]:
                    add(variable, use)
        return found

    def method_around(self, node: cst.CSTNode) -> cst.FunctionDef | None:
        """Return the method, of a class at module level, that a node is in."""
        owner = self.program.definition(node)
        inside = [x for x in (node, *self.program.ancestors(node)) if isinstance(x, cst.FunctionDef)]
        held = isinstance(owner, cst.ClassDef) and inside and is_method(inside[-1], owner)
        return inside[-1] if held else None
