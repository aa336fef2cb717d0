"""The functions and classes of a program: what names them, and what its classes derive from."""

from __future__ import annotations

import libcst as cst

from bessemer.conversion.kinds import DATASET_BASES
from bessemer.conversion.program import Program
from bessemer.conversion.syntax import Definition, is_decorated, method_named, parameters


class Definitions(dict[str, Definition]):
    """The functions and classes at module level, by name."""

    def __init__(self, program: Program) -> None:
        found = (x for x in program.module.body if isinstance(x, cst.FunctionDef | cst.ClassDef))
        super().__init__({x.name.value: x for x in found})
        self._program = program

    def bases(self, definition: cst.ClassDef) -> frozenset[str]:
        """Return the full names of a class's imported bases, also through the program's own classes."""
        found: set[str] = set()
        for base in definition.bases:
            # `Dataset[int]` derives from `Dataset`.
            value = base.value.value if isinstance(base.value, cst.Subscript) else base.value
            imported = self._program.imported(value)
            local = self.get(self._program.defined(value) or "")
            if imported is not None:
                found.add(imported)
            elif isinstance(local, cst.ClassDef) and local is not definition:
                found |= self.bases(local)
        return frozenset(found)

    def named(self, node: cst.BaseExpression) -> Definition | None:
        """Return what an expression names: by its own name, or a class as the `cls` of its class methods."""
        definition = self.get(self._program.defined(node) or "")
        if definition is not None or not isinstance(node, cst.Name):
            return definition
        method = self._program.function(node)
        if method is None or not is_decorated(method, "classmethod"):
            return None
        own = parameters(method)[:1]
        owner = self._program.enclosing(method, cst.ClassDef, cst.FunctionDef)
        is_cls = bool(own) and self._program.bindings(node) == (own[0],)
        return owner if is_cls and isinstance(owner, cst.ClassDef) else None

    def is_module_class(self, definition: Definition | None) -> bool:
        """Tell whether a class derives from `torch.nn.Module`."""
        return isinstance(definition, cst.ClassDef) and any(
            base.startswith(("torch.nn.", "torchvision.models.")) for base in self.bases(definition)
        )

    def is_dataset_class(self, definition: Definition | None) -> bool:
        """Tell whether a class is a dataset of PyTorch or torchvision."""
        return isinstance(definition, cst.ClassDef) and any(
            base in DATASET_BASES or base.startswith("torchvision.datasets.")
            for base in self.bases(definition)
        )

    def lineage(self, owner: cst.ClassDef) -> list[cst.ClassDef]:
        """Return a class and the classes of the program that it derives from."""
        found = [owner]
        for known in found:
            for base in known.bases:
                local = self.get(self._program.defined(base.value) or "")
                if isinstance(local, cst.ClassDef) and local not in found:
                    found.append(local)
        return found

    def method(self, owner: cst.ClassDef, name: str) -> cst.FunctionDef | None:
        """Return a method of a class, its own or inherited from a class of the program."""
        found = (method_named(x, name) for x in self.lineage(owner))
        return next((x for x in found if x is not None), None)
