"""Several files become one: every local import is replaced by what it would have run.

The body of a local module goes to where Python would first have run it, so the order of effects stays. All
files then share one namespace: what two of them call by the same name is renamed in the one that is imported,
and `module.name` becomes the plain name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import libcst as cst

from bessemer.conversion.normal.guards import is_guard
from bessemer.conversion.normal.locating import Locator, locator_of
from bessemer.conversion.normal.names import Names, find_names
from bessemer.conversion.normal.places import Left, Places, Tracer
from bessemer.conversion.sources import Source, Sources
from bessemer.conversion.syntax import every, fresh_name, walk
from bessemer.errors import ConversionError

ImportNode = cst.Import | cst.ImportFrom


@dataclass(frozen=True)
class Member:
    """What a name means: a name of a local module, or with `name` None the module itself."""

    module: _Module
    name: str | None


@dataclass(eq=False)
class _Module:
    """One local file: its tree, its names, and what its import statements bring from other local files."""

    source: Source
    tree: cst.Module
    names: Names
    imports: dict[ImportNode, dict[str, Member]]
    stars: list[Member]

    @property
    def stem(self) -> str:
        parts = self.source.path.removesuffix(".py").split("/")
        return parts[-2] if parts[-1] == "__init__" and len(parts) > 1 else parts[-1]

    @property
    def own(self) -> list[str]:
        """Names that the file binds itself, or imports from elsewhere."""
        return [name for name, nodes in self.names.bound.items() if not self.only_local(name, nodes)]

    def only_local(self, name: str, nodes: list[cst.CSTNode]) -> bool:
        """Tell whether a name is bound by imports of local files alone."""
        return all(isinstance(x, ImportNode) and self.is_local(x, name) for x in nodes)

    def is_local_star(self, node: ImportNode) -> bool:
        """Tell whether a star import is one of a local file."""
        return node in self.imports

    def is_local(self, node: ImportNode, name: str) -> bool:
        """Tell whether an import statement binds a name to something of a local file."""
        return name in self.imports.get(node, ())


def link(read: Sources, entry: Source, places: Places) -> cst.Module:
    """Return one module that does what a script does together with its local modules.

    Raises:
        ConversionError: a local module is used in a way that one namespace cannot give.
    """
    return _Linker(locator_of(read, entry), places).linked(entry)


class _Linker:
    def __init__(self, locator: Locator, places: Places) -> None:
        self.locator = locator
        self.places = places
        self.modules: dict[str, _Module] = {}
        self.final: dict[tuple[str, str], str] = {}
        self.done: set[str] = set()

    def linked(self, entry: Source) -> cst.Module:
        main = self.module(entry)
        if len(self.modules) == 1:
            return main.tree
        self._choose_names(main)
        body = list(self._body(main))
        future = [x for x in body if _is_future(x)]
        rest = [x for x in body if not _is_future(x)]
        first = {cst.Module([]).code_for_node(x).strip(): x for x in future}
        docstring = rest[:1] if main.tree.get_docstring() is not None else []
        return main.tree.with_changes(body=[*docstring, *first.values(), *rest[len(docstring) :]])

    def module(self, source: Source) -> _Module:
        """Return a local file, with all files that it reaches."""
        known = self.modules.get(source.path)
        if known is not None:
            return known
        tree = self.places.enter(source)
        made = _Module(source, tree, find_names(tree), {}, [])
        self.modules[source.path] = made
        if len(self.modules) > 1:
            self._read_packages(source)
        for node in walk(tree, cst.Import, cst.ImportFrom):
            if isinstance(node, cst.Import):
                self._import(made, node)
            else:
                self._import_from(made, node)
        return made

    def _read_packages(self, source: Source) -> None:
        """Reach the packages that an imported file lies in: Python runs them before it."""
        folders = source.path.split("/")[:-1]
        for length in range(1, len(folders) + 1):
            package = self.locator.file("/".join([*folders[:length], "__init__.py"]))
            if package is not None:
                self.module(package)

    def _import(self, importer: _Module, node: cst.Import) -> None:
        for alias in node.names:
            name = alias.evaluated_name
            source = self.locator.absolute(name)
            if source is None:
                continue
            if alias.asname is not None or "." not in name:
                bound = alias.evaluated_alias or name
                importer.imports.setdefault(node, {})[bound] = Member(self.module(source), None)
            else:
                top = self.locator.absolute(name.partition(".")[0])
                self.module(source)
                held = self.module(top) if top is not None else self.module(source)
                importer.imports.setdefault(node, {})[name.partition(".")[0]] = Member(held, None)

    def _import_from(self, importer: _Module, node: cst.ImportFrom) -> None:
        dotted = cst.Module([]).code_for_node(node.module).strip() if node.module is not None else ""
        dots = len(node.relative)
        source = (
            self.locator.relative(importer.source, dots, dotted) if dots else self.locator.absolute(dotted)
        )
        if isinstance(node.names, cst.ImportStar):
            if source is not None:
                importer.imports.setdefault(node, {})
                importer.stars.append(Member(self.module(source), None))
            return
        for alias in node.names:
            inner = ".".join(x for x in (dotted, alias.evaluated_name) if x)
            file = (
                self.locator.relative(importer.source, dots, inner) if dots else self.locator.absolute(inner)
            )
            bound = alias.evaluated_alias or alias.evaluated_name
            if source is not None:
                held = self.module(source)
                member = self._member(held, alias.evaluated_name, set())
                if member is None and file is not None:
                    member = Member(self.module(file), None)
                if member is None:
                    raise ConversionError(
                        f"{self.places.of(node)}: {source.path} has no {alias.evaluated_name}",
                        "a name that the local module defines",
                        "correct the import",
                    )
                importer.imports.setdefault(node, {})[bound] = member
            elif file is not None:
                importer.imports.setdefault(node, {})[bound] = Member(self.module(file), None)

    def _member(self, module: _Module, name: str, seen: set[str]) -> Member | None:
        """Follow a name of a module to where it is made."""
        if module.source.path in seen:
            return None
        seen.add(module.source.path)
        nodes = module.names.bound.get(name)
        if nodes is not None and not module.only_local(name, nodes):
            return Member(module, name)
        for node in nodes or ():
            if isinstance(node, ImportNode) and module.is_local(node, name):
                return module.imports[node][name]
        for star in module.stars:
            found = self._member(star.module, name, seen)
            if found is not None:
                return found
        return None

    # One namespace

    def _choose_names(self, main: _Module) -> None:
        taken: dict[str, object] = {}
        ordered = [main, *(x for x in self.modules.values() if x is not main)]
        every_name = {x.value for module in ordered for x in walk(module.tree, cst.Name)}
        for module in ordered:
            for name in module.own:
                key = _outside(module, name) or (module.source.path, name)
                chosen = name
                if taken.setdefault(name, key) != key:
                    chosen = fresh_name([f"{module.stem}_{name}"], every_name | taken.keys())
                    taken[chosen] = key
                self.final[module.source.path, name] = chosen
        while self._avoid_captures(ordered, every_name | taken.keys()):
            pass

    def _avoid_captures(self, modules: list[_Module], taken: set[str]) -> bool:
        """Rename the first thing whose name means something local where it is used."""
        for module in modules:
            for use, member, _ in self._references(module):
                name = self.final[member.module.source.path, member.name or ""]
                if use.value == name and self.places.of(use) is not None and member.module is module:
                    continue
                if module.names.captured(use, name):
                    fresh = fresh_name([f"{member.module.stem}_{name}"], taken)
                    self.final[member.module.source.path, member.name or ""] = fresh
                    return True
        return False

    def _references(self, module: _Module) -> Iterator[tuple[cst.Name, Member, cst.CSTNode]]:
        """Yield each use of a module-level name: the name, what it means, and the whole expression."""
        parents = _parents(module.tree)
        for name, uses in module.names.uses.items():
            mine = (module.source.path, name) in self.final
            for use in uses:
                if mine and not (use in module.names.imported and self._is_module_use(module, use, parents)):
                    yield use, Member(module, name), use
                elif not mine and use not in module.names.imported:
                    starred = self._from_stars(module, name)
                    if starred is not None and starred.name is not None:
                        yield use, starred, use
        for use, statements in module.names.imported.items():
            local = [x for x in statements if module.is_local(x, use.value)]
            if not local or not self._is_module_use(module, use, parents):
                continue
            member, node = self._follow(module.imports[local[0]][use.value], use, parents)
            if member.name is None:
                raise ConversionError(
                    f"{self.places.of(use)}: the local module {member.module.stem} is used as a value",
                    f"{member.module.stem}.name, with a name that the module defines",
                    "name what is used; a dictionary can choose by a text",
                )
            yield use, member, node

    def _from_stars(self, module: _Module, name: str) -> Member | None:
        found = (self._member(star.module, name, set()) for star in module.stars)
        return next((x for x in found if x is not None), None)

    def _is_module_use(self, module: _Module, use: cst.Name, parents: dict[cst.CSTNode, cst.CSTNode]) -> bool:
        """Tell whether a name that an import binds still means what was imported."""
        if use not in module.names.mixed:
            return any(module.is_local(x, use.value) for x in module.names.imported[use])
        local = [x for x in module.names.imported[use] if module.is_local(x, use.value)]
        if not local:
            return False
        member = module.imports[local[0]][use.value]
        if member.name is not None:
            return False  # the import becomes an assignment
        attribute = parents.get(use)
        if not (isinstance(attribute, cst.Attribute) and attribute.value is use):
            return False
        if self._member(member.module, attribute.attr.value, set()) is None:
            return False
        if module.names.inside[use]:
            raise ConversionError(
                f"{self.places.of(use)}: {use.value} is a local module, and a variable as well",
                "names of their own for both",
                "rename the variable",
            )
        stores = [x for x in module.names.uses.get(use.value, ()) if _is_stored(x, parents)]
        return not any(_may_precede(store, use, parents) for store in stores)

    def _follow(
        self, member: Member, use: cst.Name, parents: dict[cst.CSTNode, cst.CSTNode]
    ) -> tuple[Member, cst.CSTNode]:
        """Follow `package.module.name` to the name, and return the whole dotted expression with it."""
        node: cst.CSTNode = use
        while member.name is None:
            outer = parents.get(node)
            if not (isinstance(outer, cst.Attribute) and outer.value is node):
                break
            found = self._member(member.module, outer.attr.value, set())
            if found is None:
                folder = member.module.source.path.rpartition("/")[0]
                inner = self.locator.file(f"{folder}/{outer.attr.value}.py".lstrip("/"))
                if inner is None or inner.path not in self.modules:
                    raise ConversionError(
                        f"{self.places.of(use)}: {member.module.source.path} has no {outer.attr.value}",
                        "a name that the local module defines",
                        "correct the name",
                    )
                found = Member(self.modules[inner.path], None)
            member, node = found, outer
        return member, node

    # Bodies

    def _body(self, module: _Module) -> Iterator[cst.BaseStatement]:
        """Yield the statements of a file, with those of the local files that it imports before."""
        self.done.add(module.source.path)
        replaced: dict[cst.CSTNode, cst.Name] = {}
        for use, member, node in self._references(module):
            name = self.final[member.module.source.path, member.name or ""]
            if node is not use or use.value != name:
                replaced[node] = cst.Name(name)
        renamer = _Renamer(self.places, module, replaced, self.final)
        is_first = True
        for statement in module.tree.body:
            for node in walk(statement, cst.Import, cst.ImportFrom):
                for needed in self._needed(module, node):
                    if needed.source.path not in self.done:
                        yield from self._body(needed)
            docstring = is_first and module.tree.get_docstring() is not None
            is_first = False
            imported = len(self.done) > 1 and module is not next(iter(self.modules.values()))
            if imported and (docstring or is_guard(statement)):
                continue
            changed = statement.visit(renamer)
            if isinstance(changed, cst.BaseStatement):
                yield changed

    def _needed(self, module: _Module, node: ImportNode) -> Iterator[_Module]:
        """Yield the local files that an import runs, in order; packages come before what is in them."""
        wanted = [member.module for member in module.imports.get(node, {}).values()]
        if isinstance(node, cst.ImportFrom) and isinstance(node.names, cst.ImportStar):
            wanted += [star.module for star in module.stars if module.is_local_star(node)]
        for found in wanted:
            yield from self._packages(found.source)
            yield found

    def _packages(self, source: Source) -> Iterator[_Module]:
        """Yield the packages that a file lies in, from the outside."""
        folders = source.path.split("/")[:-1]
        for length in range(1, len(folders) + 1):
            path = "/".join([*folders[:length], "__init__.py"])
            if path != source.path and self.locator.file(path) is not None and path in self.modules:
                yield self.modules[path]


class _Renamer(Tracer):
    """Puts final names into a file, and takes its local imports out."""

    def __init__(
        self,
        places: Places,
        module: _Module,
        replaced: dict[cst.CSTNode, cst.Name],
        final: dict[tuple[str, str], str],
    ) -> None:
        super().__init__(places)
        self.module = module
        self.replaced = replaced
        self.final = final

    def on_leave(self, original_node: cst.CSTNodeT, updated_node: cst.CSTNodeT) -> Left:  # type: ignore[override]
        """Replace a name, or what stands in its place."""
        name = self.replaced.get(original_node)
        if name is not None:
            kept = {
                field: getattr(updated_node, field)
                for field in ("lpar", "rpar")
                if hasattr(updated_node, field)
            }
            made = name.with_changes(**kept)
            self.places.put(made, original_node)
            return made
        return super().on_leave(original_node, updated_node)

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.BaseStatement | cst.RemovalSentinel:
        """Take a line out of which everything was taken out."""
        return updated_node if updated_node.body else cst.RemoveFromParent()

    def leave_Import(
        self, original_node: cst.Import, updated_node: cst.Import
    ) -> cst.BaseSmallStatement | cst.RemovalSentinel:
        """Take local modules out of an import."""
        local = self.module.imports.get(original_node, {})
        kept = [x for x in updated_node.names if _binds(x) not in local]
        return self._without(updated_node, kept)

    def leave_ImportFrom(
        self, original_node: cst.ImportFrom, updated_node: cst.ImportFrom
    ) -> cst.BaseSmallStatement | cst.RemovalSentinel | cst.FlattenSentinel[cst.BaseSmallStatement]:
        """Take an import of local names out; a name that is set elsewhere too becomes an assignment."""
        if original_node not in self.module.imports or isinstance(updated_node.names, cst.ImportStar):
            is_local = original_node in self.module.imports
            return cst.RemoveFromParent() if is_local else updated_node
        local = self.module.imports[original_node]
        made: list[cst.BaseSmallStatement] = []
        for name, member in local.items():
            mine = self.final.get((self.module.source.path, name))
            if mine is not None and member.name is not None and member.module is not self.module:
                value = cst.Name(self.final[member.module.source.path, member.name])
                made.append(cst.Assign([cst.AssignTarget(cst.Name(mine))], value))
        kept = self._without(updated_node, [x for x in updated_node.names if _binds(x) not in local])
        if not made:
            return kept
        return cst.FlattenSentinel([*([kept] if isinstance(kept, cst.BaseSmallStatement) else []), *made])

    def _without(
        self, node: cst.Import | cst.ImportFrom, kept: list[cst.ImportAlias]
    ) -> cst.BaseSmallStatement | cst.RemovalSentinel:
        if not kept:
            return cst.RemoveFromParent()
        last = kept[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
        return node.with_changes(names=[*kept[:-1], last])


def _binds(alias: cst.ImportAlias) -> str:
    return alias.evaluated_alias or alias.evaluated_name.partition(".")[0]


def _outside(module: _Module, name: str) -> tuple[str, ...] | None:
    """Return what a name that only imports of other packages bind means; the same in every file."""
    texts = set()
    for node in module.names.bound[name]:
        if not isinstance(node, ImportNode) or isinstance(node.names, cst.ImportStar):
            return None
        source = ""
        if isinstance(node, cst.ImportFrom) and node.module is not None:
            source = cst.Module([]).code_for_node(node.module).strip()
        for alias in node.names:
            if _binds(alias) == name:
                full = alias.evaluated_name if alias.asname else name
                texts.add(f"{source}:{full}")
    return ("import", *sorted(texts)) if len(texts) == 1 else None


def _is_future(statement: cst.BaseStatement) -> bool:
    return isinstance(statement, cst.SimpleStatementLine) and any(
        isinstance(x, cst.ImportFrom)
        and x.module is not None
        and isinstance(x.module, cst.Name)
        and x.module.value == "__future__"
        for x in statement.body
    )


def _parents(tree: cst.Module) -> dict[cst.CSTNode, cst.CSTNode]:
    return {child: node for node in every(tree) for child in node.children}


def _is_stored(name: cst.Name, parents: dict[cst.CSTNode, cst.CSTNode]) -> bool:
    node: cst.CSTNode = name
    outer = parents.get(node)
    while isinstance(outer, cst.Tuple | cst.List | cst.Element | cst.StarredElement):
        node, outer = outer, parents.get(outer)
    if isinstance(outer, cst.AssignTarget | cst.FunctionDef | cst.ClassDef | cst.AsName):
        return True
    targets = isinstance(outer, cst.For | cst.AnnAssign | cst.AugAssign | cst.NamedExpr)
    return targets and getattr(outer, "target", None) is node


def _may_precede(store: cst.Name, use: cst.Name, parents: dict[cst.CSTNode, cst.CSTNode]) -> bool:
    """Tell whether a write may have run before a read, both at module level."""
    first, second = _path(store, parents), _path(use, parents)
    common = [x for x in first if x in second]
    holder = common[0] if common else None
    if any(isinstance(x, cst.For | cst.While) for x in common):
        return True
    if isinstance(holder, cst.If | cst.Assign | cst.AnnAssign | cst.NamedExpr):
        return False  # in different branches, or the value is computed before it is written
    order = {node: number for number, node in enumerate(_in_order(holder))} if holder is not None else {}
    mine, other = (next(x for x in path if x in order) for path in (first, second))
    return mine is not other and order[mine] < order[other]


def _path(node: cst.CSTNode, parents: dict[cst.CSTNode, cst.CSTNode]) -> list[cst.CSTNode]:
    path = [node]
    while path[-1] in parents:
        path.append(parents[path[-1]])
    return path


def _in_order(holder: cst.CSTNode) -> Sequence[cst.CSTNode]:
    return holder.body if isinstance(holder, cst.Module | cst.IndentedBlock) else holder.children
