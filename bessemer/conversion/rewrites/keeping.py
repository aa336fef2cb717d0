"""What a loop changes in objects of the program survives a restart: `run.keep(trainer, "best")`.

One call for each object, in front of the outermost loop that changes it, with the attributes that are
changed in the loop or in what it calls. Namespaces that hold shared variables are such objects too.
"""

from __future__ import annotations

from collections.abc import Iterable

import libcst as cst

from bessemer.conversion.rewrites.base import Case, LeftStatement, LoopRewriter, statement


class KeepingRewriter(LoopRewriter):
    """Puts `run.keep(...)` in front of loops."""

    kind = "keeping"
    TITLE = "Attributes that loops change"

    def run_uses(self) -> Iterable[cst.CSTNode]:
        """The loops that change attributes, and what makes the objects of others."""
        return [x.at for x in self.analysis.state.keepings]

    def in_front(self, original: cst.BaseStatement, updated: cst.BaseStatement) -> LeftStatement:
        """Keep what this loop changes."""
        reason = "the loop changes these attributes; kept over restarts"
        return self.put_in_front(original, updated, self._calls(original), reason)

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> LeftStatement:
        """Keep what something that is called back changes, as soon as it is made."""
        calls = self._calls(original_node)
        if not calls:
            return updated_node
        before = self.program.code(original_node)
        reason = "what is called back changes these attributes; kept over restarts"
        self.note(original_node, "\n".join([before, *calls]), reason, before=before)
        return cst.FlattenSentinel([updated_node, *(statement(x) for x in calls)])

    def _calls(self, at: cst.BaseStatement) -> list[str]:
        calls: list[str] = []
        for kept in self.analysis.state.keepings:
            if kept.at is at:
                names = ", ".join(f'"{name}"' for name in kept.names)
                calls.append(f"{self.analysis.run}.keep({kept.code}, {names})")
        return calls


CASES = (
    Case(
        "what a method counts, and what a list collects",
        """
        import torch
        class Trainer:
            def __init__(self, optimizer):
                self.optimizer = optimizer
                self.num_steps = 0
                self.losses = []
                self.name = "first"
            def step(self, loss):
                self.optimizer.step()
                self.num_steps += 1
                self.last = loss
                self.losses.append(loss)
        def main():
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            trainer = Trainer(optimizer)
            for epoch in range(9):
                trainer.step(loss())
            print(trainer.losses)
        """,
        """
        import torch
        class Trainer:
            def __init__(self, optimizer):
                self.optimizer = optimizer
                self.num_steps = 0
                self.losses = []
                self.name = "first"
            def step(self, loss):
                self.optimizer.step()
                self.num_steps += 1
                self.last = loss
                self.losses.append(loss)
        def main():
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            trainer = Trainer(optimizer)
            run.keep(trainer, "num_steps", "last", "losses")
            for epoch in range(9):
                trainer.step(loss())
            print(trainer.losses)
        """,
    ),
    Case(
        "what a function that is called back changes",
        """
        import torch
        from types import SimpleNamespace
        class Trainer:
            def __init__(self, optimizer):
                self.optimizer = optimizer
                self.hooks = []
            def run(self):
                for epoch in range(9):
                    self.optimizer.step()
                    for hook in self.hooks:
                        hook(self)
        def main():
            shared = SimpleNamespace()
            shared.best = 0
            def note(trainer):
                shared.best += 1
            trainer = Trainer(torch.optim.SGD(model.parameters(), lr=0.1))
            trainer.hooks.append(note)
            trainer.run()
        """,
        """
        import torch
        from types import SimpleNamespace
        class Trainer:
            def __init__(self, optimizer):
                self.optimizer = optimizer
                self.hooks = []
            def run(self):
                for epoch in range(9):
                    self.optimizer.step()
                    for hook in self.hooks:
                        hook(self)
        def main():
            shared = SimpleNamespace()
            run.keep(shared, "best")
            shared.best = 0
            def note(trainer):
                shared.best += 1
            trainer = Trainer(torch.optim.SGD(model.parameters(), lr=0.1))
            trainer.hooks.append(note)
            trainer.run()
        """,
    ),
    Case(
        "an object that no loop changes is left alone",
        """
        import torch
        class Names:
            def __init__(self):
                self.first = "a"
        def main():
            names = Names()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for epoch in range(9):
                optimizer.step()
                print(names.first)
        """,
        None,
    ),
)
