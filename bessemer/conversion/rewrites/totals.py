"""Sums over batches become `run.totals(...)`, which adds them up over the workers.

`totals.loss` holds what this worker added; when the loop over a sharded loader ends, it becomes the
sum over all workers. A mean over a batch is added with the worker's share of that batch, so that the
sum of the parts is the mean of the whole; with one worker the share is exactly 1.
"""

from __future__ import annotations

import libcst as cst

from bessemer.conversion.rewrites.base import Case
from bessemer.conversion.rewrites.held import HeldRewriter

_TIGHT = (
    cst.Name,
    cst.Call,
    cst.Attribute,
    cst.Subscript,
    cst.BaseNumber,
)


class TotalsRewriter(HeldRewriter):
    """Makes `run.totals(...)` and weights what is a mean."""

    kind = "totals"
    TITLE = "Sums over batches"
    reason = "summed over the workers when the loop ends, kept over restarts"

    def _share(self, value: cst.BaseExpression) -> cst.BaseExpression:
        is_product = isinstance(value, cst.BinaryOperation) and isinstance(
            value.operator, cst.Multiply | cst.Divide
        )
        if not isinstance(value, _TIGHT) and not is_product and not value.lpar:
            value = value.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
        return cst.BinaryOperation(value, cst.Multiply(), self.on_run("share"))

    def leave_AugAssign(self, original_node: cst.AugAssign, updated_node: cst.AugAssign) -> cst.AugAssign:
        """Weight `x += mean`."""
        if original_node.value not in self.analysis.state.weighted:
            return updated_node
        changed = updated_node.with_changes(value=self._share(updated_node.value))
        self.note(original_node, changed, "a mean over the batch counts by the worker's share of it")
        return changed

    def leave_BinaryOperation(
        self, original_node: cst.BinaryOperation, updated_node: cst.BinaryOperation
    ) -> cst.BaseExpression:
        """Weight `x = x + mean`."""
        if original_node.right not in self.analysis.state.weighted:
            return updated_node
        changed = updated_node.with_changes(right=self._share(updated_node.right))
        self.note(original_node, changed, "a mean over the batch counts by the worker's share of it")
        return changed


CASES = (
    Case(
        "sums and counts are added as they are",
        """
        import torch.nn.functional as F
        from torch.utils.data import DataLoader
        def test(model):
            loader = DataLoader(dataset)
            test_loss = 0
            correct = 0
            for data, target in loader:
                output = model(data)
                test_loss += F.nll_loss(output, target, reduction="sum").item()
                correct += (output.argmax(1) == target).sum().item()
            test_loss /= len(loader.dataset)
            return test_loss, correct
        """,
        """
        import torch.nn.functional as F
        from torch.utils.data import DataLoader
        def test(model):
            loader = DataLoader(dataset)
            totals = run.totals(test_loss=0, correct=0)
            for data, target in loader:
                output = model(data)
                totals.test_loss += F.nll_loss(output, target, reduction="sum").item()
                totals.correct += (output.argmax(1) == target).sum().item()
            totals.test_loss /= len(loader.dataset)
            return totals.test_loss, totals.correct
        """,
    ),
    Case(
        "a mean is weighted by the worker's share",
        """
        from torch import nn
        from torch.utils.data import DataLoader
        def test(model):
            loader = DataLoader(dataset)
            criterion = nn.CrossEntropyLoss()
            loss = 0.0
            for data, target in loader:
                loss = loss + criterion(model(data), target).item()
            return loss / len(loader)
        """,
        """
        from torch import nn
        from torch.utils.data import DataLoader
        def test(model):
            loader = DataLoader(dataset)
            criterion = nn.CrossEntropyLoss()
            totals = run.totals(loss=0.0)
            for data, target in loader:
                totals.loss = totals.loss + criterion(model(data), target).item() * run.share
            return totals.loss / len(loader)
        """,
    ),
    Case(
        "a mean times the size of its batch is a sum",
        """
        from torch import nn
        from torch.utils.data import DataLoader
        def test(model):
            loader = DataLoader(dataset)
            criterion = nn.MSELoss()
            loss = 0.0
            for data, target in loader:
                loss += criterion(model(data), target).item() * data.size(0)
            return loss
        """,
        """
        from torch import nn
        from torch.utils.data import DataLoader
        def test(model):
            loader = DataLoader(dataset)
            criterion = nn.MSELoss()
            totals = run.totals(loss=0.0)
            for data, target in loader:
                totals.loss += criterion(model(data), target).item() * data.size(0)
            return totals.loss
        """,
    ),
    Case(
        "a sum over something that is no loader is the program's own",
        """
        def count(words):
            total = 0
            for word in words:
                total += len(word)
            return total
        """,
        None,
    ),
)
