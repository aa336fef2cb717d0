"""Printed metrics are logged as well: `run.log({"train/loss": loss.detach()})`.

The `print` stays. A loss of the training loop that is printed now and then is logged after each step; the
names come from the words in front of the printed values. Where the program prints no number of its
training, what `backward` is called on is logged.
"""

from __future__ import annotations

from collections.abc import Iterable

import libcst as cst

from bessemer.conversion.analysis import Analysis
from bessemer.conversion.logs import Log, Metric
from bessemer.conversion.rewrites.base import Case, Left, Rewriter, Substitute
from bessemer.conversion.rewrites.effects import is_repeatable


class LoggingRewriter(Rewriter):
    """Puts `run.log(...)` behind what prints metrics. It must be the last of the rewrites."""

    kind = "logging"
    TITLE = "What leaves the program: metrics"

    def __init__(self, analysis: Analysis) -> None:
        super().__init__(analysis)
        self._logs: dict[cst.CSTNode, list[tuple[Log, list[Metric]]]] = {}
        for log in analysis.logs.logs:
            metrics = [x for x in log.metrics if self._is_repeatable(log, x)]
            if metrics:
                self._logs.setdefault(log.after, []).append((log, metrics))
        self._wanted = {
            node
            for entries in self._logs.values()
            for _, metrics in entries
            for metric in metrics
            for node in (metric.value, metric.over)
            if node is not None
        }
        self._held: dict[cst.CSTNode, cst.BaseExpression] = {
            use: cst.Attribute(cst.Name(holder.name), cst.Name(variable.name))
            for holder in analysis.state.holders
            for variable in holder.variables
            for use in variable.occurrences
        }
        self._updated: dict[cst.CSTNode, cst.BaseExpression] = {}

    def _is_repeatable(self, log: Log, metric: Metric) -> bool:
        if is_repeatable(self.program, metric.value):
            return True
        self.leave_out(
            log.shown, f"{metric.name} is computed while it is printed; give it a name to have it logged"
        )
        return False

    def run_uses(self) -> Iterable[cst.CSTNode]:
        """Every statement that is followed by a log."""
        return list(self._logs)

    def on_leave(self, original_node: cst.CSTNodeT, updated_node: cst.CSTNodeT) -> Left:  # type: ignore[override]
        """Remember the logged values as other rewrites left them, and add the logs."""
        if original_node in self._wanted and isinstance(updated_node, cst.BaseExpression):
            self._updated[original_node] = updated_node
        entries = self._logs.get(original_node)
        if entries is None:
            return updated_node
        return cst.FlattenSentinel([updated_node, *(self._line(log, x) for log, x in entries)])

    def _line(self, log: Log, metrics: list[Metric]) -> cst.SimpleStatementLine:
        elements = [
            cst.DictElement(cst.SimpleString(f'"{metric.name}"'), self._value(metric)) for metric in metrics
        ]
        call = self.call_run("log", [cst.Arg(cst.Dict(elements))])
        printed = self.program.imported(log.shown.func) == "builtins.print"
        reason = "the metrics that this line prints" if printed else "what training minimises"
        self.note(log.shown, call, f"{reason}, in the record of the run")
        return cst.SimpleStatementLine([cst.Expr(call)])

    def _value(self, metric: Metric) -> cst.BaseExpression:
        value = self._now(metric.value)
        if metric.detach:
            return cst.Call(cst.Attribute(value, cst.Name("detach")))
        if metric.over is None:
            return value
        return cst.BinaryOperation(_closed(value), cst.Divide(), _closed(self._now(metric.over)))

    def _now(self, node: cst.BaseExpression) -> cst.BaseExpression:
        known = self._updated.get(node)
        changed = known if known is not None else node.visit(Substitute(self._held))
        assert isinstance(changed, cst.BaseExpression)
        return changed.deep_clone()


def _closed(node: cst.BaseExpression) -> cst.BaseExpression:
    if isinstance(node, cst.BinaryOperation | cst.IfExp | cst.Comparison) and not node.lpar:
        return node.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    return node


CASES = (
    Case(
        "a loss that is printed now and then is logged after every step",
        """
        import torch
        import torch.nn.functional as F
        from torch.utils.data import DataLoader
        def main():
            loader = DataLoader(dataset)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for i, (x, y) in enumerate(loader):
                loss = F.mse_loss(model(x), y)
                loss.backward()
                optimizer.step()
                if i % 10 == 0:
                    print(f"batch {i} of {len(loader)}: Loss: {loss.item():.4f}")
        """,
        """
        import torch
        import torch.nn.functional as F
        from torch.utils.data import DataLoader
        def main():
            loader = DataLoader(dataset)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for i, (x, y) in enumerate(loader):
                loss = F.mse_loss(model(x), y)
                loss.backward()
                optimizer.step()
                run.log({"train/loss": loss.detach()})
                if i % 10 == 0:
                    print(f"batch {i} of {len(loader)}: Loss: {loss.item():.4f}")
        """,
    ),
    Case(
        "a count and its total are a ratio; the percentage behind them is the same number",
        """
        from torch.utils.data import DataLoader
        def evaluate(model):
            loader = DataLoader(dataset)
            hits = 0
            for x, y in loader:
                hits += (model(x) == y).sum().item()
            print("Validation accuracy: %d/%d (%.1f%%)" % (
                hits, len(loader.dataset), 100.0 * hits / len(loader.dataset)))
        """,
        """
        from torch.utils.data import DataLoader
        def evaluate(model):
            loader = DataLoader(dataset)
            totals = run.totals(hits=0)
            for x, y in loader:
                totals.hits += (model(x) == y).sum().item()
            print("Validation accuracy: %d/%d (%.1f%%)" % (
                totals.hits, len(loader.dataset), 100.0 * totals.hits / len(loader.dataset)))
            run.log({"val/accuracy": totals.hits / len(loader.dataset)})
        """,
        also=("totals",),
    ),
    Case(
        "a program that prints no number of its training",
        """
        import torch
        def main():
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for epoch in range(9):
                loss = model(x).sum()
                loss.backward()
                optimizer.step()
                print(progress)
        """,
        """
        import torch
        def main():
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for epoch in range(9):
                loss = model(x).sum()
                loss.backward()
                optimizer.step()
                run.log({"train/loss": loss.detach()})
                print(progress)
        """,
    ),
    Case(
        "counters and lengths are no metrics",
        """
        def main():
            for epoch in range(9):
                print("Epoch: {}/{}".format(epoch, 9))
        """,
        None,
    ),
)
