"""Several files become one: every local import is replaced by what it would have run.

The body of a local module goes to where Python would first have run it, so the order of effects stays. All
files then share one namespace: what two of them call by the same name is renamed in the one that is imported,
and `module.name` becomes the plain name.
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from bessemer.conversion.normal.guards import is_guard
from bessemer.conversion.normal.locating import locator_of
from bessemer.conversion.normal.modules import ImportNode, LocalModule, Member, Modules
from bessemer.conversion.normal.order import is_stored, may_precede
from bessemer.conversion.normal.places import Left, Places, Tracer
from bessemer.conversion.plan import Rewrite
from bessemer.conversion.sources import Source, Sources
from bessemer.conversion.syntax import bound_name, code_of, fresh_name, source_module, walk
from bessemer.errors import ConversionError

Finals = dict[tuple[str, str], str]
"""What each name of each file is called in the end, by path and name."""


def link(read: Sources, entry: Source, places: Places) -> tuple[cst.Module, list[Rewrite]]:
    """Return one module that does what a script does together with its local modules, and what was changed.

    Raises:
        ConversionError: a local module is used in a way that one namespace cannot give.
    """
    modules = Modules(locator_of(read, entry), places, entry)
    is_one = len(modules.by_path) == 1
    return modules.main.tree if is_one else _Linker(modules, places).linked(), modules.rewrites


class _Linker:
    def __init__(self, modules: Modules, places: Places) -> None:
        self.modules = modules
        self.places = places
        self.final: Finals = {}
        self.done: set[str] = set()

    def linked(self) -> cst.Module:
        main = self.modules.main
        self._choose_names()
        body = list(self._body(main))
        future = {code_of(x): x for x in body if _is_future(x)}
        rest = [x for x in body if not _is_future(x)]
        num_first = 1 if main.tree.get_docstring() is not None else 0
        return main.tree.with_changes(body=[*rest[:num_first], *future.values(), *rest[num_first:]])

    # One namespace

    def _choose_names(self) -> None:
        """Keep names, those of the script first; where two files clash, rename the later one's."""
        modules = list(self.modules.by_path.values())
        taken: dict[str, object] = {}
        every_name = {x.value for module in modules for x in walk(module.tree, cst.Name)}
        for module in modules:
            for name in module.own:
                key = _outside(module, name) or (module.source.path, name)
                chosen = name
                if taken.setdefault(name, key) != key:
                    chosen = fresh_name([f"{module.stem}_{name}"], every_name | taken.keys())
                    taken[chosen] = key
                self.final[module.source.path, name] = chosen
        while self._avoid_captures(modules, every_name | taken.keys()):
            pass

    def _avoid_captures(self, modules: list[LocalModule], taken: set[str]) -> bool:
        """Rename the first thing whose name means something local where it is used."""
        for module in modules:
            for use, member, _ in self._references(module):
                name = self.final[member.key]
                changes = use.value != name or member.module is not module
                if changes and module.names.captured(use, name):
                    self.final[member.key] = fresh_name([f"{member.module.stem}_{name}"], taken)
                    return True
        return False

    def _references(self, module: LocalModule) -> Iterator[tuple[cst.Name, Member, cst.CSTNode]]:
        """Yield each use of a module-level name: the name, what it means, and the whole expression."""
        for name, uses in module.names.uses.items():
            mine = (module.source.path, name) in self.final
            for use in uses:
                if mine and not (use in module.names.imported and self._is_module_use(module, use)):
                    yield use, Member(module, name), use
                elif not mine and use not in module.names.imported:
                    starred = self.modules.starred(module, name)
                    if starred is not None and starred.name is not None:
                        yield use, starred, use
        for use, statements in module.names.imported.items():
            local = [x for x in statements if module.is_local(x, use.value)]
            if not local or not self._is_module_use(module, use):
                continue
            member, node = self._follow(module, module.imports[local[0]][use.value], use)
            if member.name is None:
                raise ConversionError(
                    f"{self.places.of(use)}: the local module {member.module.stem} is used as a value",
                    f"{member.module.stem}.name, with a name that the module defines",
                    "name what is used; a dictionary can choose by a text",
                )
            yield use, member, node

    def _is_module_use(self, module: LocalModule, use: cst.Name) -> bool:
        """Tell whether a name that an import binds still means what was imported."""
        local = [x for x in module.names.imported[use] if module.is_local(x, use.value)]
        if not local or use not in module.names.mixed:
            return bool(local)
        member = module.imports[local[0]][use.value]
        if member.name is not None:
            return False  # the import becomes an assignment
        attribute = module.parents.get(use)
        if not (isinstance(attribute, cst.Attribute) and attribute.value is use):
            return False
        if self.modules.member(member.module, attribute.attr.value) is None:
            return False
        if module.names.inside[use]:
            raise ConversionError(
                f"{self.places.of(use)}: {use.value} is a local module, and a variable as well",
                "names of their own for both",
                "rename the variable",
            )
        stores = [x for x in module.names.uses.get(use.value, ()) if is_stored(x, module.parents)]
        return not any(may_precede(store, use, module.parents) for store in stores)

    def _follow(self, module: LocalModule, member: Member, use: cst.Name) -> tuple[Member, cst.CSTNode]:
        """Follow `package.module.name` to the name, and return the whole dotted expression with it."""
        node: cst.CSTNode = use
        while member.name is None:
            outer = module.parents.get(node)
            if not (isinstance(outer, cst.Attribute) and outer.value is node):
                break
            name = outer.attr.value
            found = self.modules.member(member.module, name) or self.modules.inner(member.module, name)
            if found is None:
                raise self.modules.lacks(use, member.module.source, name)
            member, node = found, outer
        return member, node

    # Bodies

    def _body(self, module: LocalModule) -> Iterator[cst.BaseStatement]:
        """Yield the statements of a file, with those of the local files that it imports before."""
        self.done.add(module.source.path)
        renamer = _Renamer(self.places, module, self._replaced(module), self.final)
        is_main = module is self.modules.main
        num_skipped = 1 if not is_main and module.tree.get_docstring() is not None else 0
        for statement in module.tree.body[num_skipped:]:
            if not is_main and is_guard(statement):
                continue
            for node in walk(statement, cst.Import, cst.ImportFrom):
                for needed in self.modules.run_by(module, node):
                    if needed.source.path not in self.done:
                        yield from self._body(needed)
            changed = statement.visit(renamer)
            if isinstance(changed, cst.BaseStatement):
                yield changed

    def _replaced(self, module: LocalModule) -> dict[cst.CSTNode, cst.Name]:
        """Return the expressions of a file that another name takes the place of."""
        return {
            node: cst.Name(self.final[member.key])
            for use, member, node in self._references(module)
            if node is not use or use.value != self.final[member.key]
        }


class _Renamer(Tracer):
    """Puts final names into a file, and takes its local imports out."""

    def __init__(
        self,
        places: Places,
        module: LocalModule,
        replaced: dict[cst.CSTNode, cst.Name],
        final: Finals,
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
        kept = [x for x in updated_node.names if bound_name(x) not in local]
        return self._without(updated_node, kept)

    def leave_ImportFrom(
        self, original_node: cst.ImportFrom, updated_node: cst.ImportFrom
    ) -> cst.BaseSmallStatement | cst.RemovalSentinel | cst.FlattenSentinel[cst.BaseSmallStatement]:
        """Take an import of local names out; a name that is set elsewhere too becomes an assignment."""
        if original_node in self.module.stars:
            return cst.RemoveFromParent()
        if isinstance(updated_node.names, cst.ImportStar):
            return updated_node
        local = self.module.imports.get(original_node, {})
        kept = self._without(updated_node, [x for x in updated_node.names if bound_name(x) not in local])
        made: list[cst.BaseSmallStatement] = []
        for name, member in local.items():
            mine = self.final.get((self.module.source.path, name))
            if mine is not None and member.name is not None:
                target = cst.AssignTarget(cst.Name(mine))
                made.append(cst.Assign([target], cst.Name(self.final[member.key])))
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


def _outside(module: LocalModule, name: str) -> tuple[str, ...] | None:
    """Return what a name that only imports of other packages bind means; the same in every file."""
    meanings = set()
    for node in module.names.bound[name]:
        if not isinstance(node, ImportNode) or isinstance(node.names, cst.ImportStar):
            return None
        source = source_module(node) if isinstance(node, cst.ImportFrom) else ""
        for alias in node.names:
            if bound_name(alias) == name:
                # `from torch import nn` means what `import torch.nn as nn` means.
                own = alias.evaluated_name if alias.asname or source else name
                meanings.add(f"{source}.{own}" if source else own)
    return ("import", *meanings) if len(meanings) == 1 else None


def _is_future(statement: cst.BaseStatement) -> bool:
    return isinstance(statement, cst.SimpleStatementLine) and any(
        isinstance(x, cst.ImportFrom) and source_module(x) == "__future__" for x in statement.body
    )
