"""What a training leaves behind for the lines after it becomes `run.last(...)`, where there are several.

A loop around the training makes models and optimizers anew, as cross validation does. A restart passes over
the trainings that were complete: what they left in variables must be there.
"""

from __future__ import annotations

from bessemer.conversion.rewrites.base import Case
from bessemer.conversion.rewrites.held import HeldRewriter


class LastRewriter(HeldRewriter):
    """Makes `run.last(...)`."""

    kind = "last"
    TITLE = "What a training leaves behind"
    reason = "read after a training that a restart passes over"


CASES = (
    Case(
        "the last loss of each fold",
        """
        import torch
        def fit(model, optimizer):
            for epoch in range(3):
                loss = model(torch.ones(1)).sum()
                loss.backward()
                optimizer.step()
            return loss.item()
        def main():
            scores = []
            for fold in range(5):
                model = torch.nn.Linear(1, 1)
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                scores.append(fit(model, optimizer))
            print(scores)
        """,
        """
        import torch
        def fit(model, optimizer):
            last = run.last(loss=None)
            for epoch in range(3):
                last.loss = model(torch.ones(1)).sum()
                last.loss.backward()
                optimizer.step()
            return last.loss.item()
        def main():
            scores = []
            for fold in range(5):
                model = torch.nn.Linear(1, 1)
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                scores.append(fit(model, optimizer))
            print(scores)
        """,
    ),
    Case(
        "a single training",
        """
        import torch
        def main():
            model = torch.nn.Linear(1, 1)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for epoch in range(3):
                loss = model(torch.ones(1)).sum()
                loss.backward()
                optimizer.step()
            print(loss.item())
        """,
        None,
    ),
)
