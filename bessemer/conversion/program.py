"""A parsed program with everything that LibCST knows about it, asked by node.

The rest of the converter asks its questions here: what does this name mean, where does it stand,
which function is it in. Names are resolved through LibCST's scopes, so a local function that
happens to be called `DataLoader` is never mistaken for the one of PyTorch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import libcst as cst
from libcst import metadata

from bessemer.conversion.scoping import positions_in, scopes_in
from bessemer.conversion.syntax import Definition, NodeT, every, parameters, parents_in, walk

# Where PyTorch defines what it also exports under a shorter name.
_CANONICAL = {
    "torch.utils.data.dataloader.DataLoader": "torch.utils.data.DataLoader",
    "torch.utils.data.dataset.Dataset": "torch.utils.data.Dataset",
    "torch.utils.data.dataset.IterableDataset": "torch.utils.data.IterableDataset",
    "torch.utils.data.dataset.TensorDataset": "torch.utils.data.TensorDataset",
    "torch.utils.data.sampler.Sampler": "torch.utils.data.Sampler",
    "torch.nn.modules.module.Module": "torch.nn.Module",
    "torch.nn.modules.Module": "torch.nn.Module",
    "tqdm.auto.tqdm": "tqdm.tqdm",
    "tqdm.notebook.tqdm": "tqdm.tqdm",
    "tqdm.std.tqdm": "tqdm.tqdm",
    "tqdm.auto.trange": "tqdm.trange",
    "tqdm.notebook.trange": "tqdm.trange",
}


@dataclass(frozen=True, eq=False)
class Program:
    """One file of research code and the facts that LibCST derives from it.

    Nodes are compared by identity: a fact about a node is a fact about that place in the file.
    """

    path: str
    module: cst.Module
    parents: Mapping[cst.CSTNode, cst.CSTNode]
    scopes: Mapping[cst.CSTNode, metadata.Scope | None]
    contexts: Mapping[cst.CSTNode, metadata.ExpressionContext | None]
    positions: Mapping[cst.CSTNode, metadata.CodeRange]
    stood: Mapping[cst.CSTNode, str]
    _named: dict[cst.CSTNode, tuple[metadata.QualifiedName, ...]] = field(default_factory=dict, kw_only=True)
    _places: dict[cst.CSTNode, dict[str, list[cst.Name]]] = field(default_factory=dict, kw_only=True)

    @cached_property
    def spelt(self) -> Mapping[str, list[cst.Name]]:
        """Every place where a name is written, whatever it means there, by its letters."""
        found: dict[str, list[cst.Name]] = defaultdict(list)
        for node in walk(self.module, cst.Name):
            found[node.value].append(node)
        return found

    def where(self, node: cst.CSTNode) -> str:
        """Say where a node stood in the research code, as `file:line`."""
        for outer in (node, *self.ancestors(node)):
            if outer in self.stood:
                return self.stood[outer]
        return f"{self.path}:{self.line(node)}"

    def line(self, node: cst.CSTNode) -> int:
        """Return the line on which a node begins."""
        return self.positions[node].start.line

    def place(self, node: cst.CSTNode) -> tuple[int, int]:
        """Return the line and the column at which a node begins."""
        return _start(self.positions[node])

    def before(self, first: cst.CSTNode, second: cst.CSTNode) -> bool:
        """Tell whether `first` begins before `second` does."""
        return _start(self.positions[first]) < _start(self.positions[second])

    def code(self, node: cst.CSTNode) -> str:
        """Return the source text of a node, without the blank lines and comments around it."""
        return self.module.code_for_node(node).strip()

    def imported(self, node: cst.CSTNode) -> str | None:
        """Return the full dotted name of what is imported or built in, else None.

        `nn.Module`, after `import torch.nn as nn`, is `torch.nn.Module`; `len` is `builtins.len`.
        A name with two meanings has none.
        """
        found = self._names(node)
        local = metadata.QualifiedNameSource.LOCAL
        if len(found) != 1 or found[0].source is local:
            return None
        return _CANONICAL.get(found[0].name, found[0].name)

    def defined(self, node: cst.CSTNode) -> str | None:
        """Return the name of the top-level thing of this file that an expression names, else None."""
        found = self._names(node)
        if len(found) != 1 or found[0].source is not metadata.QualifiedNameSource.LOCAL:
            return None
        return None if "." in found[0].name else found[0].name

    def _names(self, node: cst.CSTNode) -> tuple[metadata.QualifiedName, ...]:
        # LibCST would look through calls and items: `f(x).y` is nothing that `f.y` names.
        scope = self.scopes.get(node) if _is_dotted(node) else None
        if scope is None:
            return ()
        if node not in self._named:
            self._named[node] = tuple(scope.get_qualified_names_for(node))
        return self._named[node]

    def parent(self, node: cst.CSTNode) -> cst.CSTNode:
        """Return the node that directly holds `node`."""
        return self.parents[node]

    def ancestors(self, node: cst.CSTNode) -> Iterator[cst.CSTNode]:
        """Yield what holds `node`, from the inside to the outside."""
        while node in self.parents:
            node = self.parents[node]
            yield node

    def enclosing(self, node: cst.CSTNode, *kinds: type[NodeT]) -> NodeT | None:
        """Return the nearest thing of one of these kinds around `node`."""
        return next((outer for outer in self.ancestors(node) if isinstance(outer, kinds)), None)

    def statement(self, node: cst.CSTNode) -> cst.BaseStatement:
        """Return the innermost whole statement that `node` is in (or is)."""
        for outer in (node, *self.ancestors(node)):
            if isinstance(outer, cst.BaseStatement):
                return outer
        raise LookupError("the node is not in a statement")

    def function(self, node: cst.CSTNode) -> cst.FunctionDef | None:
        """Return the outermost function or method around `node`; nested functions belong to it."""
        inside = [x for x in (node, *self.ancestors(node)) if isinstance(x, cst.FunctionDef)]
        return inside[-1] if inside else None

    def definition(self, node: cst.CSTNode) -> Definition | None:
        """Return the top-level function or class that `node` is in."""
        outer = [x for x in (node, *self.ancestors(node)) if isinstance(x, Definition)]
        return outer[-1] if outer else None

    def occurrences(self, name: str, function: cst.FunctionDef) -> list[cst.Name]:
        """Return every place where a local variable of `function` is read or written."""
        scope = self.scopes.get(function.body)
        return [x for x in self._named_in(function).get(name, ()) if self._binding_scope(x) is scope]

    def _named_in(self, function: cst.FunctionDef) -> dict[str, list[cst.Name]]:
        """Return the places where names are read or written in a function, by name."""
        if function not in self._places:
            self._places[function] = defaultdict(list)
            for node in walk(function.body, cst.Name):
                if self.contexts.get(node) is not None:
                    self._places[function][node.value].append(node)
        return self._places[function]

    def own_names(self, body: cst.BaseSuite) -> frozenset[str]:
        """Return the names that the scope of a function's body binds, its parameters included."""
        scope = self.scopes.get(body)
        return _bound_in(scope) if scope is not None else frozenset()

    def bound_around(self, node: cst.CSTNode) -> Iterator[tuple[metadata.Scope, frozenset[str]]]:
        """Yield the scopes around a node, from the inside, without that of the module, and their names."""
        scope = self.scopes.get(node)
        while scope is not None and not isinstance(scope, metadata.GlobalScope | metadata.BuiltinScope):
            yield scope, _bound_in(scope)
            scope = scope.parent

    def _binding_scope(self, node: cst.Name) -> metadata.Scope | None:
        scope = self.scopes.get(node)
        if scope is None:
            return None
        return next((found.scope for found in scope[node.value]), None)

    def is_local(self, name: str, function: cst.FunctionDef) -> bool:
        """Tell whether `name` is a parameter or a variable of `function`."""
        scope = self.scopes.get(function.body)
        return scope is not None and any(found.scope is scope for found in scope[name])

    def is_parameter(self, name: str, function: cst.FunctionDef) -> bool:
        """Tell whether `name` is a parameter of `function`."""
        return any(parameter.name.value == name for parameter in parameters(function))

    def is_comprehended(self, name: cst.Name) -> bool:
        """Tell whether a name is a variable of a comprehension that it stands in, and so of nothing else."""
        scope = self.scopes.get(name)
        while isinstance(scope, metadata.ComprehensionScope):
            if name.value in _bound_in(scope):
                return True
            scope = scope.parent
        return False

    def bindings(self, name: cst.Name) -> tuple[cst.CSTNode, ...]:
        """Return the nodes (names, parameters, definitions, imports) that give `name` a value."""
        scope = self.scopes.get(name)
        if scope is None:
            return ()
        found = [x for x in scope[name.value] if isinstance(x, metadata.Assignment)]
        return tuple(sorted((x.node for x in found), key=lambda node: _start(self.positions[node])))

    def is_load(self, node: cst.CSTNode) -> bool:
        """Tell whether a name or attribute is read here, not written."""
        return self.contexts.get(node) is metadata.ExpressionContext.LOAD

    def is_store(self, node: cst.CSTNode) -> bool:
        """Tell whether a name or attribute is written here."""
        return self.contexts.get(node) is metadata.ExpressionContext.STORE


def understand(
    module: cst.Module,
    path: str,
    stood: Mapping[cst.CSTNode, str] | None = None,
    *,
    is_fresh: bool = False,
) -> Program:
    """Resolve every name, scope and position of a module.

    Args:
        module: what is asked about; the program has a copy of it.
        path: what messages call it.
        stood: where nodes of `module` stood in the research code, if it was changed since.
        is_fresh: whether it comes from the parser unchanged; then no copy is needed.
    """
    # A changed module may hold one node in two places, which are one place to LibCST.
    copy = module if is_fresh else module.deep_clone()
    scopes, contexts = scopes_in(copy)
    places = stood or {}
    return Program(
        path=path,
        module=copy,
        stood={new: places[old] for old, new in zip(every(module), every(copy), strict=True) if old in places}
        if places
        else {},
        parents=parents_in(copy),
        scopes=scopes,
        contexts=contexts,
        positions=positions_in(copy),
    )


def _bound_in(scope: metadata.Scope) -> frozenset[str]:
    return frozenset(x.name for x in scope.assignments if x.scope is scope)


def _start(span: metadata.CodeRange) -> tuple[int, int]:
    return span.start.line, span.start.column


def _is_dotted(node: cst.CSTNode) -> bool:
    while isinstance(node, cst.Attribute):
        node = node.value
    return isinstance(node, cst.Name)
