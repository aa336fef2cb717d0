"""The lines of the entry point that only build loaders become `build_loaders(...)`, in `data/loaders.py`.

Only lines that stand together are taken, in their order, so nothing changes but the place where they
stand: what they read comes in as arguments, what is read after them goes out as results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import libcst as cst

from bessemer.conversion.analysis import Analysis
from bessemer.conversion.flow import Flow
from bessemer.conversion.kinds import Kind
from bessemer.conversion.rewrites.base import Case, Left, Rewriter
from bessemer.conversion.syntax import fresh_name, statements, walk

NAME = "build_loaders"
_DATA = (Kind.LOADER, Kind.DATASET)
_STAYS = (Kind.MODULE, Kind.OPTIMIZER, Kind.SCHEDULER, Kind.SCALER, Kind.DEVICE, Kind.DEVICE_NAME)


@dataclass(frozen=True, eq=False)
class Extraction:
    """The lines that move, and what goes in and out of them."""

    lines: tuple[cst.BaseStatement, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    name: str


def find_extraction(analysis: Analysis) -> Extraction | str:
    """Find the lines that build loaders; if there are none that can move, say why."""
    entry = analysis.script.entry
    if entry is None:
        return "there is no entry point"
    finder = _Finder(analysis, entry)
    span = finder.span()
    if isinstance(span, str):
        return span
    return finder.extraction(*span)


class _Finder:
    def __init__(self, analysis: Analysis, entry: cst.FunctionDef) -> None:
        self.analysis = analysis
        self.program = analysis.script.program
        self.entry = entry
        self.flow = Flow(self.program, entry)
        self.building = analysis.script.options.building - {analysis.parsing}
        self.body = [x for x in statements(entry.body) if x not in self.building]
        self.held = {
            use
            for holder in analysis.state.holders
            for variable in holder.variables
            for use in variable.occurrences
        }

    def span(self) -> tuple[int, int] | str:
        """Return the first and the last line that build loaders."""
        building = [i for i, statement in enumerate(self.body) if self._builds(statement)]
        if not building:
            return "the entry point builds no loader itself"
        first, last = building[0], building[-1]
        for statement in self.body[first : last + 1]:
            reason = self._must_stay(statement)
            if reason is not None:
                return f"line {self.program.line(statement)} between the loaders {reason}"
        while first > 0 and self._prepares(first - 1, last):
            first -= 1
        return first, last

    def _builds(self, statement: cst.BaseStatement) -> bool:
        calls = walk(statement, cst.Call)
        return any(self.program.imported(x.func) == "torch.utils.data.DataLoader" for x in calls)

    def _must_stay(self, statement: cst.BaseStatement) -> str | None:
        if any(walk(statement, cst.Return, cst.Yield, cst.Await, cst.Global, cst.Nonlocal, cst.Del)):
            return "leaves the function"
        if any(walk(statement, cst.FunctionDef, cst.ClassDef, cst.Lambda, cst.For, cst.While)):
            return "holds a definition or a loop"
        if any(name in self.held for name in walk(statement, cst.Name)):
            return "uses a value that is carried over restarts"
        for name in walk(statement, cst.Name):
            if self.program.is_store(name) and self.analysis.kinds.is_a(name, *_STAYS):
                return f"makes {name.value}, which is no data"
        return None

    def _prepares(self, index: int, last: int) -> bool:
        """Tell whether a line serves nothing but the loaders that are built after it."""
        statement = self.body[index]
        if self._must_stay(statement) is not None:
            return False
        changed = self.flow.stored(statement) | self._mutated(statement)
        if not changed or not changed & self.flow.loaded(*self.body[index + 1 : last + 1]):
            return False
        later = self.flow.effect(self.body[last + 1 :]).exposed
        kinds = self.analysis.kinds
        data = {
            name.value
            for name in walk(statement, cst.Name)
            if self.program.is_store(name) and kinds.is_a(name, *_DATA)
        }
        return not (changed & later) - data

    def _mutated(self, statement: cst.BaseStatement) -> frozenset[str]:
        """Return the names whose objects a line may change: receivers of methods and of items."""
        found = set()
        for node in walk(statement, cst.Attribute, cst.Subscript):
            if isinstance(node.value, cst.Name) and self.program.is_load(node.value):
                parent = self.program.parent(node)
                is_call = isinstance(parent, cst.Call) and isinstance(node, cst.Attribute)
                local = self.program.is_local(node.value.value, self.entry)
                if local and (is_call or self.program.is_store(node)):
                    found.add(node.value.value)
        return frozenset(found)

    def extraction(self, first: int, last: int) -> Extraction | str:
        """Work out what goes in and out of the lines from `first` to `last`."""
        lines = tuple(self.body[first : last + 1])
        effect = self.flow.effect(lines)
        later = self.flow.effect(self.body[last + 1 :]).exposed
        settings = self.analysis.settings
        local = {x for x in effect.exposed if self.program.is_local(x, self.entry)}
        outputs = [x for x in self._in_order(lines) if x in later]
        unsure = sorted((set(outputs) - effect.definite) | (local - self._before(first)))
        if unsure:
            return f"{', '.join(unsure)} may be without a value there"
        if not outputs:
            return "nothing that these lines build is used after them"
        reads_settings = settings in effect.exposed
        inputs = tuple(sorted(local - {settings}, key=self._first_line))
        return Extraction(
            lines,
            (settings, *inputs) if reads_settings else inputs,
            tuple(outputs),
            fresh_name((NAME,), self.analysis.taken),
        )

    def _before(self, first: int) -> frozenset[str]:
        parameters = frozenset(x.name.value for x in walk(self.entry.params, cst.Param))
        known = self.flow.effect(self.body[:first]).definite | parameters
        return known | {self.analysis.settings}

    def _in_order(self, lines: Sequence[cst.BaseStatement]) -> list[str]:
        names = (x.value for y in lines for x in walk(y, cst.Name) if self.program.is_store(x))
        return list(dict.fromkeys(names))

    def _first_line(self, name: str) -> int:
        return min(self.program.line(x) for x in self.program.occurrences(name, self.entry))


class ExtractionRewriter(Rewriter):
    """Moves the lines that build loaders into a function of their own."""

    kind = "extraction"
    TITLE = "Loaders get a function of their own"

    def __init__(self, analysis: Analysis) -> None:
        super().__init__(analysis)
        found = find_extraction(analysis)
        self.found = None if isinstance(found, str) else found
        self.reason = found if isinstance(found, str) else ""
        self._lines = list(self.found.lines) if self.found is not None else []
        self._moved: list[cst.BaseStatement] = []
        self.function: cst.FunctionDef | None = None

    def on_leave(self, original_node: cst.CSTNodeT, updated_node: cst.CSTNodeT) -> Left:  # type: ignore[override]
        """Collect the lines; a call stands where the last of them stood."""
        if self.found is None or original_node not in self._lines:
            return updated_node
        assert isinstance(updated_node, cst.BaseStatement)
        self._moved.append(updated_node)
        if original_node is not self._lines[-1]:
            return cst.RemoveFromParent()
        self.function = self._define(self.found)
        call = self._call(self.found)
        first, last = self.program.where(self._lines[0]), self.program.where(original_node)
        self.note(
            self._lines[0],
            call.with_changes(leading_lines=()),
            f"what stands from {first} to {last} only builds the loaders; it is {self.found.name} now",
        )
        return call

    def _call(self, found: Extraction) -> cst.SimpleStatementLine:
        args = ", ".join([self.analysis.run, *found.inputs])
        code = f"{', '.join(found.outputs)} = {found.name}({args})"
        made = cst.ensure_type(cst.parse_statement(code), cst.SimpleStatementLine)
        leading = getattr(self._moved[0], "leading_lines", ())
        return made.with_changes(leading_lines=[x for x in leading if x.comment is None][:1])

    def _define(self, found: Extraction) -> cst.FunctionDef:
        settings = self.analysis.settings
        shown = [f"{x}: Settings" if x == settings else x for x in found.inputs]
        given = ", ".join([f"{self.analysis.run}: Run", *shown])
        code = (
            f"def {found.name}({given}):\n"
            f'    """Build the loaders that training and evaluation iterate."""\n'
            f"    return {', '.join(found.outputs)}\n"
        )
        function = cst.ensure_type(cst.parse_statement(code), cst.FunctionDef)
        head, tail = statements(function.body)
        first, *rest = self._moved
        leading = [x for x in getattr(first, "leading_lines", ()) if x.comment is not None]
        body = [head, first.with_changes(leading_lines=leading), *rest, tail]
        block = cst.ensure_type(function.body, cst.IndentedBlock)
        return function.with_changes(body=block.with_changes(body=body))


CASES = (
    Case(
        "options of loaders, data sets and loaders move together",
        """
        import torch
        from torch.utils.data import DataLoader
        def main():
            torch.manual_seed(1)
            size = len(dataset)
            workers = min(4, size)
            options = {"batch_size": size}
            options.update(num_workers=workers)

            loader = DataLoader(dataset, **options)
            for epoch in range(3):
                train(loader, size)
        if __name__ == "__main__":
            main()
        """,
        """
        import torch
        from torch.utils.data import DataLoader
        def main():
            torch.manual_seed(1)
            size = len(dataset)
            loader = build_loaders(run, size)
            for epoch in range(3):
                train(loader, size)
        """,
    ),
    Case(
        "a model between the loaders keeps them where they are",
        """
        import torch
        from torch.utils.data import DataLoader
        def main():
            train_loader = DataLoader(train_set)
            model = torch.nn.Linear(2, 1)
            test_loader = DataLoader(test_set)
            train(model, train_loader, test_loader)
        """,
        None,
    ),
)
