"""Several files read as one program: which function a call means, and who calls a function.

The facts of all files lie in the same tables, since a node belongs to one file only. Names are followed
through imports between the files, relative ones too; nothing is imported or run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import PurePosixPath

import libcst as cst

from bessemer.conversion.program import Program, understand
from bessemer.conversion.sources import Source
from bessemer.conversion.syntax import Definition, parameters, walk, walk_own

_BARS = frozenset({"tqdm.tqdm", "tqdm", "rich.progress.track", "tqdm.tqdm_notebook"})


@dataclass(frozen=True, eq=False)
class Codebase(Program):
    """Files that belong together. `names` and `paths` say what each is called, and where it lies."""

    names: Mapping[cst.CSTNode, str] = field(default_factory=dict)
    paths: Mapping[cst.CSTNode, str] = field(default_factory=dict)
    definitions: Mapping[str, Definition] = field(default_factory=dict)
    sources: Mapping[cst.CSTNode, Source] = field(default_factory=dict)
    prefix: str = ""

    def where(self, node: cst.CSTNode) -> str:
        """Say where a node stands, as `file:line` or `name.ipynb[cell 3]:2`."""
        return f"{self.prefix}{self.sources[self.file(node)].where(self.line(node))}"

    def file(self, node: cst.CSTNode) -> cst.CSTNode:
        """Return the file that a node is in, as its module."""
        while node in self.parents:
            node = self.parents[node]
        return node

    def every(self, *kinds: type[cst.CSTNode]) -> Iterator[cst.CSTNode]:
        """Yield everything of these kinds, file by file."""
        return chain.from_iterable(walk(file, *kinds) for file in self.paths)

    def functions(self) -> Iterator[cst.FunctionDef]:
        """Yield every function, methods and nested ones too."""
        return (x for x in self.every(cst.FunctionDef) if isinstance(x, cst.FunctionDef))

    def calls(self) -> Iterator[cst.Call]:
        """Yield every call."""
        return (x for x in self.every(cst.Call) if isinstance(x, cst.Call))

    def meant(self, node: cst.CSTNode) -> Definition | None:
        """Return the function or class of these files that a name or a dotted name means."""
        if isinstance(node, cst.Name):
            bound = self.bindings(node)
            if len(bound) == 1 and isinstance(bound[0], Definition):
                return bound[0]
        full = self.imported(node)
        if full is None:
            return None
        if full.startswith("."):
            full = self._absolute(full, node)
        found = self.definitions.get(full)
        if found is None:
            # Only the end of a name is known when a folder inside of a package was given.
            ends = [name for name in self.definitions if name.endswith("." + full)]
            ends += [name for name in self.definitions if full.endswith("." + name) and "." in name]
            found = self.definitions[ends[0]] if len(ends) == 1 else None
        return found

    def _absolute(self, relative: str, node: cst.CSTNode) -> str:
        file = self.file(node)
        parts = self.names[file].split(".")
        if PurePosixPath(self.paths[file]).name == "__init__.py":
            parts.append("")
        rest = relative.lstrip(".")
        return ".".join([*parts[: len(parts) - (len(relative) - len(rest))], rest])

    def owner(self, function: cst.CSTNode) -> cst.ClassDef | None:
        """Return the class of a method."""
        outer = self.enclosing(function, cst.FunctionDef, cst.ClassDef)
        return outer if isinstance(outer, cst.ClassDef) else None

    def around(self, node: cst.CSTNode) -> cst.FunctionDef | None:
        """Return the innermost function around a node."""
        return self.enclosing(node, cst.FunctionDef)

    def bases(self, owner: cst.ClassDef) -> Iterator[cst.ClassDef]:
        """Yield a class and those of these files that it derives from."""
        seen: list[cst.ClassDef] = []
        waiting = [owner]
        while waiting:
            current = waiting.pop()
            if current not in seen:
                seen.append(current)
                yield current
                found = (self.meant(base.value) for base in current.bases)
                waiting += [x for x in found if isinstance(x, cst.ClassDef)]

    def method(self, owner: cst.ClassDef, name: str) -> cst.FunctionDef | None:
        """Return a method of a class, its own or inherited."""
        for base in self.bases(owner):
            for function in walk(base, cst.FunctionDef):
                if function.name.value == name and self.owner(function) is base:
                    return function
        return None

    def is_module(self, owner: cst.ClassDef) -> bool:
        """Tell whether a class is a torch module."""
        return any(
            (self.imported(base.value) or "").startswith("torch.nn.")
            for current in self.bases(owner)
            for base in current.bases
        )

    def self_name(self, function: cst.FunctionDef) -> str | None:
        """Return what a method calls its own object."""
        own = parameters(function)
        static = any(
            isinstance(x.decorator, cst.Name) and x.decorator.value == "staticmethod"
            for x in function.decorators
        )
        return own[0].name.value if own and self.owner(function) is not None and not static else None

    def is_generator(self, function: cst.FunctionDef) -> bool:
        """Tell whether calling a function makes a generator."""
        return any(walk_own(function, cst.Yield))

    def shown(self, node: cst.BaseExpression) -> cst.BaseExpression:
        """Return what a progress bar is around, or the expression itself."""
        while isinstance(node, cst.Call) and node.args and self.imported(node.func) in _BARS:
            node = node.args[0].value
        return node


def join(
    sources: Iterable[Source], package: str = "", shown: str = "", *, is_fresh: bool = False
) -> Codebase:
    """Read files together.

    Args:
        sources: the files.
        package: dotted name of the folder that they lie in, as imports write it.
        shown: what stands before the path of each in messages.
        is_fresh: whether their modules come from the parser unchanged, and are not copied.
    """
    programs = [(source, understand(source.module, source.path, is_fresh=is_fresh)) for source in sources]
    names: dict[cst.CSTNode, str] = {}
    definitions: dict[str, Definition] = {}
    for source, program in programs:
        parts = list(PurePosixPath(source.path).with_suffix("").parts)
        parts = ([package] if package else []) + (parts[:-1] if parts[-1] == "__init__" else parts)
        names[program.module] = ".".join(parts)
        for statement in program.module.body:
            if isinstance(statement, cst.FunctionDef | cst.ClassDef):
                definitions[".".join([*parts, statement.name.value])] = statement
    first = replace(programs[0][1]) if programs else understand(cst.Module([]), "")
    every = [program for _, program in programs]
    return Codebase(
        path=first.path,
        module=first.module,
        parents={k: v for x in every for k, v in x.parents.items()},
        scopes={k: v for x in every for k, v in x.scopes.items()},
        contexts={k: v for x in every for k, v in x.contexts.items()},
        positions={k: v for x in every for k, v in x.positions.items()},
        stood={},
        names=names,
        paths={program.module: f"{shown}{source.path}" for source, program in programs},
        definitions=definitions,
        sources={program.module: source for source, program in programs},
        prefix=shown,
    )
