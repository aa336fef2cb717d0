"""The outermost loop that trains becomes `run.epochs(...)`, or `run.steps(...)` if it has no end.

There a run is resumed, a row is shown for each epoch, and requests to stop are honoured.
"""

from __future__ import annotations

from collections.abc import Iterable

import libcst as cst

from bessemer.conversion.kinds import Kind
from bessemer.conversion.rewrites.base import Case, Rewriter, plain_args
from bessemer.conversion.syntax import code_of, walk

_RANGES = frozenset({"builtins.range", "tqdm.trange"})
_COUNT = "itertools.count"


class EpochsRewriter(Rewriter):
    """Takes hold of the outer iterator."""

    kind = "epochs"
    TITLE = "The outer iterator"

    def run_uses(self) -> Iterable[cst.CSTNode]:
        """The outermost loop that trains."""
        return list(self.analysis.training.outers)

    def leave_For(self, original_node: cst.For, updated_node: cst.For) -> cst.BaseStatement:
        """Replace what is iterated."""
        if original_node not in self.analysis.training.outers:
            return updated_node
        source, shown = original_node.iter, updated_node.iter
        if self.analysis.kinds.is_a(source, Kind.BAR) and isinstance(source, cst.Call):
            source = source.args[0].value
            shown = cst.ensure_type(shown, cst.Call).args[0].value
        member, args = "epochs", [cst.Arg(shown)]
        if isinstance(source, cst.Call) and isinstance(shown, cst.Call):
            name = self.program.imported(source.func)
            if name in _RANGES:
                args = plain_args(arg for arg in shown.args if arg.keyword is None)
            elif name == _COUNT and not shown.args:
                member, args = "steps", []
        changed = self.call_run(member, args)
        self.note(original_node.iter, changed, "a restart goes on in the epoch it was in")
        return updated_node.with_changes(iter=changed)

    def leave_While(self, original_node: cst.While, updated_node: cst.While) -> cst.BaseStatement:
        """`while True` goes on for ever, as `run.steps()` does; other conditions are asked at each turn."""
        if original_node not in self.analysis.training.outers:
            return updated_node
        endless = self.program.code(original_node.test) in ("True", "1")
        member = "epochs" if self._has_passes(original_node) else "steps"
        if endless:
            iterator = self.call_run(member, [])
        else:
            test = cst.Lambda(cst.Parameters(), updated_node.test)
            iterator = self.call_run(f"{member}_while", [cst.Arg(test)])
        self.note(
            original_node.test, f"for _ in {code_of(iterator)}", "a restart goes on at the turn it was at"
        )
        return cst.For(
            target=cst.Name("_"),
            iter=iterator,
            body=updated_node.body,
            orelse=updated_node.orelse,
            leading_lines=updated_node.leading_lines,
        )

    def _has_passes(self, loop: cst.While) -> bool:
        """Tell whether a turn of a loop goes over a loader, so that it is an epoch."""
        kinds = self.analysis.kinds
        functions = {x.function for x in self.analysis.training.loader_loops if x.trains}
        inside = any(self.analysis.training.of(x) for x in walk(loop.body, cst.For))
        return inside or any(kinds.callee(x) in functions for x in walk(loop.body, cst.Call))


CASES = (
    Case(
        "the range keeps its arguments",
        """
        import torch
        def main():
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for epoch in range(1, epochs + 1):
                optimizer.step()
        """,
        """
        import torch
        def main():
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for epoch in run.epochs(1, epochs + 1):
                optimizer.step()
        """,
    ),
    Case(
        "a progress bar around the range goes, loops inside stay",
        """
        import torch
        from tqdm import trange, tqdm
        def main():
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for epoch in tqdm(range(9), desc="epochs"):
                for step in range(5):
                    optimizer.step()
        """,
        """
        import torch
        from tqdm import trange, tqdm
        def main():
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for epoch in run.epochs(9):
                for step in range(5):
                    optimizer.step()
        """,
    ),
    Case(
        "training without an end",
        """
        import torch
        def main():
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            while True:
                optimizer.step()
        """,
        """
        import torch
        def main():
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for _ in run.steps():
                optimizer.step()
        """,
    ),
    Case(
        "a condition is asked before each turn",
        """
        import torch
        def main():
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            while loss() > 0.1:
                optimizer.step()
        """,
        """
        import torch
        def main():
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for _ in run.steps_while(lambda: loss() > 0.1):
                optimizer.step()
        """,
    ),
    Case(
        "a loop that does not train is left alone",
        """
        def main():
            for epoch in range(9):
                print(epoch)
        """,
        None,
    ),
)
