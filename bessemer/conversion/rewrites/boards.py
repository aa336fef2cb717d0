"""What a program reports to TensorBoard or Weights & Biases goes to the run.

A `SummaryWriter` becomes `run.board()`, which has its methods; `wandb.log(...)` becomes `run.log(...)`. What
else a program asks of wandb it finds as it was, with its own `init` told to send nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import libcst as cst

from bessemer.conversion.analysis import Analysis
from bessemer.conversion.rewrites.base import Case, Rewriter
from bessemer.conversion.syntax import argument, walk

_WRITERS = frozenset(
    {"torch.utils.tensorboard.SummaryWriter", "torch.utils.tensorboard.writer.SummaryWriter"}
    | {"tensorboardX.SummaryWriter"}
)
_LOG, _INIT = "wandb.log", "wandb.init"


class BoardsRewriter(Rewriter):
    """Takes hold of reports."""

    kind = "boards"
    TITLE = "What leaves the program: reports"

    def __init__(self, analysis: Analysis) -> None:
        super().__init__(analysis)
        calls = [x for f in analysis.script.callables for x in walk(f, cst.Call)]
        named = [(x, self.program.imported(x.func)) for x in calls]
        self._writers = {x for x, name in named if name in _WRITERS}
        self._logs = {x for x, name in named if name == _LOG and argument(x, "data", 0) is not None}
        self._inits = {x for x, name in named if name == _INIT}

    def run_uses(self) -> Iterable[cst.CSTNode]:
        """Every writer that is made, and every report."""
        return [*self._writers, *self._logs]

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        """Report to the run."""
        if original_node in self._writers:
            changed = self.call_run("board", [])
            self.note(original_node, changed, "numbers become metrics, pictures and texts files of the run")
            return changed
        if original_node in self._logs:
            data = argument(updated_node, "data", 0)
            assert data is not None
            changed = self.call_run("log", [cst.Arg(self._numbers(original_node, data))])
            self.note(original_node, changed, "metrics of the run, at its own steps")
            return changed
        if original_node in self._inits:
            mode = cst.Arg(
                cst.SimpleString('"disabled"'),
                keyword=cst.Name("mode"),
                equal=cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace("")),
            )
            others = [x for x in updated_node.args if x.keyword is None or x.keyword.value != "mode"]
            others = [x.with_changes(comma=cst.MaybeSentinel.DEFAULT) for x in others]
            changed = updated_node.with_changes(args=[*others, mode])
            self.note(original_node, changed, "nothing is sent: the run records the metrics")
            return changed
        return updated_node

    def _numbers(self, original: cst.Call, data: cst.BaseExpression) -> cst.BaseExpression:
        """Return what is reported without pictures and tables of wandb's own, which are no metrics."""
        given = argument(original, "data", 0)
        if not isinstance(given, cst.Dict) or not isinstance(data, cst.Dict):
            return data
        kept = []
        for old, new in zip(given.elements, data.elements, strict=True):
            calls = (self.program.imported(x.func) or "" for x in walk(old, cst.Call))
            if any(x.startswith("wandb.") for x in calls):
                self.leave_out(old, "a picture or a table of Weights & Biases")
            else:
                kept.append(new)
        return data.with_changes(elements=kept) if len(kept) < len(data.elements) else data


CASES = (
    Case(
        "a writer for TensorBoard",
        """
        from torch.utils.tensorboard import SummaryWriter
        def main(losses):
            writer = SummaryWriter("logs")
            for step, loss in enumerate(losses):
                writer.add_scalar("train/loss", loss, step)
            writer.close()
        """,
        """
        from torch.utils.tensorboard import SummaryWriter
        def main(losses):
            writer = run.board()
            for step, loss in enumerate(losses):
                writer.add_scalar("train/loss", loss, step)
            writer.close()
        """,
    ),
    Case(
        "reports to Weights & Biases",
        """
        import wandb
        def main(args, losses):
            wandb.init(project="p", config=args, mode="online")
            for step, loss in enumerate(losses):
                wandb.log({"loss": loss, "image": wandb.Image(loss)}, step=step)
                wandb.log(data=dict(loss=loss))
            wandb.finish()
        """,
        """
        import wandb
        def main(args, losses):
            wandb.init(project="p", config=args, mode="disabled")
            for step, loss in enumerate(losses):
                run.log({"loss": loss, })
                run.log(dict(loss=loss))
            wandb.finish()
        """,
    ),
    Case(
        "another writer of that name is left alone",
        """
        from mine import SummaryWriter
        def main(losses):
            writer = SummaryWriter("logs")
        """,
        None,
    ),
)
