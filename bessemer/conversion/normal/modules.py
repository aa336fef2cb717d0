"""The local files that a program consists of: what each defines, and what its imports bring from others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst

from bessemer.conversion.normal.locating import Locator
from bessemer.conversion.normal.names import Names, find_names
from bessemer.conversion.normal.own_file import with_own_name
from bessemer.conversion.normal.places import Places
from bessemer.conversion.normal.stars import with_named_stars
from bessemer.conversion.plan import Rewrite
from bessemer.conversion.sources import Source
from bessemer.conversion.syntax import bound_name, parents_in, source_module, walk
from bessemer.errors import ConversionError

ImportNode = cst.Import | cst.ImportFrom


@dataclass(frozen=True)
class Member:
    """What a name means: a name of a local module, or with `name` None the module itself."""

    module: LocalModule
    name: str | None

    @property
    def key(self) -> tuple[str, str]:
        """The file's path and the name, which tell it from all others."""
        return self.module.source.path, self.name or ""


@dataclass(eq=False)
class LocalModule:
    """One local file.

    Attributes:
        source: the file.
        tree: its module, whose nodes have places.
        names: its names at module level.
        parents: what directly holds each node.
        imports: for each import that brings something of local files, what it binds.
        stars: the local files that it imports everything of.
    """

    source: Source
    tree: cst.Module
    names: Names
    parents: dict[cst.CSTNode, cst.CSTNode]
    imports: dict[ImportNode, dict[str, Member]]
    stars: dict[ImportNode, LocalModule]

    @property
    def stem(self) -> str:
        """What the file is called, of an `__init__` its folder."""
        parts = self.source.path.removesuffix(".py").split("/")
        return parts[-2] if parts[-1] == "__init__" and len(parts) > 1 else parts[-1]

    @property
    def own(self) -> list[str]:
        """Names that the file binds itself, or imports from elsewhere."""
        return [name for name, nodes in self.names.bound.items() if not self.only_local(name, nodes)]

    def only_local(self, name: str, nodes: list[cst.CSTNode]) -> bool:
        """Tell whether a name is bound by imports of local files alone."""
        return all(isinstance(x, ImportNode) and self.is_local(x, name) for x in nodes)

    def is_local(self, node: ImportNode, name: str) -> bool:
        """Tell whether an import statement binds a name to something of a local file."""
        return name in self.imports.get(node, ())


class Modules:
    """The local files that a script reaches by imports, by path; the script is the first."""

    def __init__(self, locator: Locator, places: Places, entry: Source) -> None:
        self.locator = locator
        self.places = places
        self.by_path: dict[str, LocalModule] = {}
        self.rewrites: list[Rewrite] = []
        self.main = self._reach(entry)

    def _reach(self, source: Source) -> LocalModule:
        """Return a local file, with all files that it reaches."""
        known = self.by_path.get(source.path)
        if known is not None:
            return known
        tree = with_own_name(self.places.enter(self._named(source)), source.path, self.places)
        parents = parents_in(tree)
        made = LocalModule(source, tree, find_names(tree), parents, {}, {})
        self.by_path[source.path] = made
        for node in walk(tree, cst.Import, cst.ImportFrom):
            if isinstance(node, cst.Import):
                self._import(made, node)
            else:
                self._import_from(made, node)
        return made

    def _named(self, source: Source) -> Source:
        local = {
            node
            for node in walk(source.module, cst.ImportFrom)
            if self.locator.find(source, len(node.relative), source_module(node)) is not None
        }
        others = self.locator.read.files if self.by_path else ()
        named, rewrites = with_named_stars(source, local, others)
        self.rewrites += rewrites
        return named

    def _imported(self, source: Source) -> LocalModule:
        """Return a file that is imported; Python runs the packages that it lies in before it."""
        for path in _packages(source.path):
            package = self.locator.file(path)
            if package is not None:
                self._reach(package)
        return self._reach(source)

    def _import(self, importer: LocalModule, node: cst.Import) -> None:
        for alias in node.names:
            source = self.locator.find(importer.source, 0, alias.evaluated_name)
            if source is None:
                continue
            module = self._imported(source)
            if alias.asname is None:  # `import a.b` binds `a`
                top = self.locator.find(importer.source, 0, bound_name(alias))
                module = self._reach(top) if top is not None else module
            importer.imports.setdefault(node, {})[bound_name(alias)] = Member(module, None)

    def _import_from(self, importer: LocalModule, node: cst.ImportFrom) -> None:
        dotted, num_dots = source_module(node), len(node.relative)
        source = self.locator.find(importer.source, num_dots, dotted)
        if isinstance(node.names, cst.ImportStar):
            if source is not None:
                importer.stars[node] = self._imported(source)
            return
        for alias in node.names:
            name = alias.evaluated_name
            member = self.member(self._imported(source), name) if source is not None else None
            if member is None:
                inner = ".".join(x for x in (dotted, name) if x)
                file = self.locator.find(importer.source, num_dots, inner)
                member = Member(self._imported(file), None) if file is not None else None
            if member is not None:
                importer.imports.setdefault(node, {})[bound_name(alias)] = member
            elif source is not None:
                raise self.lacks(node, source, name)

    def lacks(self, node: cst.CSTNode, source: Source, name: str) -> ConversionError:
        """Return the error for a name that a local file does not have."""
        return ConversionError(
            f"{self.places.of(node)}: {source.path} has no {name}",
            "a name that the local module defines",
            "correct the name",
        )

    def member(self, module: LocalModule, name: str, seen: frozenset[str] = frozenset()) -> Member | None:
        """Follow a name of a local file to the file that makes it; None if it has no such name."""
        nodes = module.names.bound.get(name)
        if nodes is not None and not module.only_local(name, nodes):
            return Member(module, name)
        for node in nodes or ():
            if isinstance(node, ImportNode) and module.is_local(node, name):
                return module.imports[node][name]
        if module.source.path in seen:
            return None
        return self.starred(module, name, seen)

    def starred(self, module: LocalModule, name: str, seen: frozenset[str] = frozenset()) -> Member | None:
        """Return what a name means that a local file has from its star imports of other local files."""
        beyond = seen | {module.source.path}
        found = (self.member(other, name, beyond) for other in module.stars.values())
        return next((x for x in found if x is not None), None)

    def inner(self, module: LocalModule, name: str) -> Member | None:
        """Return a file of a package that was reached, such as `a.b` for the package `a`."""
        folder = module.source.path.rpartition("/")[0]
        found = self.by_path.get(f"{folder}/{name}.py".lstrip("/"))
        return Member(found, None) if found is not None else None

    def run_by(self, module: LocalModule, node: ImportNode) -> Iterator[LocalModule]:
        """Yield the local files that an import runs, in order."""
        wanted = [member.module for member in module.imports.get(node, {}).values()]
        wanted += [module.stars[node]] if node in module.stars else []
        for found in wanted:
            for path in _packages(found.source.path):
                if path in self.by_path:
                    yield self.by_path[path]
            yield found


def _packages(path: str) -> Iterator[str]:
    """Yield the paths of the `__init__.py` of the packages that a file lies in, from the outside."""
    folders = path.split("/")[:-1]
    for length in range(1, len(folders) + 1):
        package = "/".join([*folders[:length], "__init__.py"])
        if package != path:
            yield package
