"""Functions that need the run get it as their first parameter, and every call hands it over.

The entry point becomes `main(run, args)`. Methods, and functions that are handed around, ask for it with
`run = current_run()`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import libcst as cst

from bessemer.conversion.analysis import Analysis
from bessemer.conversion.rewrites.base import Case, LeftStatement, Rewriter
from bessemer.conversion.syntax import code_of, parameters, walk, walk_own, with_statements


class RunParameterRewriter(Rewriter):
    """Hands the run to the functions that use it."""

    kind = "run_parameter"
    TITLE = "Who gets the run"

    def __init__(self, analysis: Analysis, uses: Iterable[cst.CSTNode] = ()) -> None:
        super().__init__(analysis)
        self.needs = needing(analysis, uses)
        entry = analysis.script.entry
        self._entry = entry.name.value if entry is not None else None

    def run_uses(self) -> Iterable[cst.CSTNode]:
        """The entry point has the run in any case."""
        return [x for x in [self.analysis.script.entry] if x is not None]

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        """Hand over what the called function needs."""
        name = self.program.defined(original_node.func)
        if name == self._entry or name not in {x.name.value for x in self.needs.given}:
            return updated_node
        given = cst.Arg(cst.Name(self.analysis.run))
        if updated_node.args:
            given = given.with_changes(comma=cst.Comma(whitespace_after=cst.SimpleWhitespace(" ")))
        changed = updated_node.with_changes(args=[given, *updated_node.args])
        self.note(original_node, changed, f"{name} needs it")
        return changed

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> LeftStatement:
        """Add the parameters, or the line that asks for the run."""
        name = original_node.name.value
        if original_node in self.needs.asking:
            line = cst.parse_statement(f"{self.analysis.run} = current_run()")
            reason = "it uses the run, or hands it on, and cannot get it from its callers"
            self.note(original_node, code_of(line), reason, before=f"def {name}(...)")
            return with_statements(updated_node, [line])
        if self.program.definition(original_node) is not original_node:
            return updated_node
        if original_node is self.analysis.script.entry:
            return self._entry_point(original_node, updated_node)
        if original_node not in self.needs.given:
            return updated_node
        held = updated_node.params
        field = "posonly_params" if held.posonly_params else "params"
        first = _parameter(self.analysis.run, "Run")
        params = held.with_changes(**{field: [first, *getattr(held, field)]})
        changed = updated_node.with_changes(params=params)
        header = f"def {name}({self.program.code(original_node.params)})"
        reason = "it uses the run, or hands it on"
        self.note(original_node, f"def {name}({code_of(params)})", reason, before=header)
        return changed

    def _entry_point(self, original: cst.FunctionDef, updated: cst.FunctionDef) -> LeftStatement:
        both = [_parameter(self.analysis.run, "Run"), _parameter(self.analysis.settings, "Settings")]
        params = cst.Parameters(params=both)
        returns = updated.returns
        if returns is None and not any(x.value for x in walk_own(original, cst.Return)):
            returns = cst.Annotation(cst.Name("None"))
        name, before = original.name.value, self.program.code(original.params)
        after = f"def {name}({code_of(params)})"
        self.note(original, after, "the entry point of a run", before=f"def {name}({before})")
        return updated.with_changes(params=params, returns=returns)


@dataclass(frozen=True)
class Needs:
    """Who needs the run: the functions that it is given to, and those that ask for it."""

    given: frozenset[cst.FunctionDef]
    asking: frozenset[cst.FunctionDef]


def needing(analysis: Analysis, uses: Iterable[cst.CSTNode]) -> Needs:
    """Return the functions that hold one of these nodes, and all functions that hand the run to them."""
    program = analysis.script.program
    given: set[cst.FunctionDef] = set()
    asking: set[cst.FunctionDef] = set()
    waiting = [function for node in uses if (function := program.function(node)) is not None]
    while waiting:
        function = waiting.pop()
        if function in given or function in asking:
            continue
        if not _can_be_given(analysis, function):
            asking.add(function)
            continue
        given.add(function)
        for call in analysis.kinds.calls.get(function.name.value, ()):
            caller = program.function(call)
            waiting += [caller] if caller is not None else []
    return Needs(frozenset(given), frozenset(asking))


def _can_be_given(analysis: Analysis, function: cst.FunctionDef) -> bool:
    """Tell whether all that is done with a function is to call it by its name, in functions."""
    program = analysis.script.program
    if program.definition(function) is not function:
        return False
    if function is analysis.script.entry:
        return True
    for name in walk(program.module, cst.Name):
        if program.defined(name) != function.name.value or not program.is_load(name):
            continue
        parent = program.parent(name)
        if not (isinstance(parent, cst.Call) and parent.func is name and program.function(name) is not None):
            return False
    return True


def _parameter(name: str, annotation: str) -> cst.Param:
    return cst.Param(cst.Name(name), cst.Annotation(cst.Name(annotation)))


def entry_parameters(analysis: Analysis) -> tuple[str, ...]:
    """Return the names of the entry point's own parameters in the research code."""
    entry = analysis.script.entry
    return tuple(x.name.value for x in parameters(entry)) if entry is not None else ()


CASES = (
    Case(
        "the entry point and what it calls",
        """
        from torch.utils.data import DataLoader
        def load(size):
            return DataLoader(dataset, batch_size=size)
        def report(loader):
            print(len(loader))
        def main():
            report(load(64))
        if __name__ == "__main__":
            main()
        """,
        """
        from torch.utils.data import DataLoader
        def load(run: Run, size):
            return DataLoader(dataset, batch_size=size)
        def report(loader):
            print(len(loader))
        def main(run: Run, settings: Settings) -> None:
            report(load(run, 64))
        """,
    ),
    Case(
        "a method asks for it, and so does a function that is handed around",
        """
        from torch.utils.data import DataLoader
        class Reader:
            def load(self):
                '''Read.'''
                return DataLoader(dataset)
        def load(size):
            return DataLoader(dataset, batch_size=size)
        def main():
            Reader().load()
            for loader in map(load, (1, 2)):
                print(len(loader))
        """,
        """
        from torch.utils.data import DataLoader
        class Reader:
            def load(self):
                '''Read.'''
                run = current_run()
                return DataLoader(dataset)
        def load(size):
            run = current_run()
            return DataLoader(dataset, batch_size=size)
        def main(run: Run, settings: Settings) -> None:
            Reader().load()
            for loader in map(load, (1, 2)):
                print(len(loader))
        """,
    ),
)
