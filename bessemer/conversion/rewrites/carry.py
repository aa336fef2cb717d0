"""Other values that a loop carries from one iteration to the next become `run.carry(...)`.

A best value so far, a count of bad epochs, a number of batches: after a restart in the middle of the
loop they are what they were. Every worker has its own.
"""

from __future__ import annotations

from bessemer.conversion.rewrites.base import Case
from bessemer.conversion.rewrites.held import HeldRewriter


class CarryRewriter(HeldRewriter):
    """Makes `run.carry(...)`."""

    kind = "carry"
    TITLE = "What a loop carries"
    reason = "kept over restarts"


CASES = (
    Case(
        "the best value so far",
        """
        import torch
        def main():
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            best = 0.0
            for epoch in range(9):
                optimizer.step()
                accuracy = evaluate(model)
                if accuracy > best:
                    best = accuracy
            print(best)
        """,
        """
        import torch
        def main():
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            carry = run.carry(best=0.0)
            for epoch in range(9):
                optimizer.step()
                accuracy = evaluate(model)
                if accuracy > carry.best:
                    carry.best = accuracy
            print(carry.best)
        """,
    ),
    Case(
        "lists in a list that the loop fills through another name",
        """
        import torch
        def main():
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            histories = [[], []]
            for epoch in range(9):
                optimizer.step()
                for value, history in zip(measure(model), histories):
                    history.append(value)
            print(histories)
        """,
        """
        import torch
        def main():
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            carry = run.carry(histories=[[], []])
            for epoch in range(9):
                optimizer.step()
                for value, history in zip(measure(model), carry.histories):
                    history.append(value)
            print(carry.histories)
        """,
    ),
    Case(
        "a parameter is carried from where the loop begins",
        """
        import torch
        def main(step):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            print(step)
            for epoch in range(9):
                optimizer.step()
                step += 1
            return step
        """,
        """
        import torch
        def main(step):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            print(step)
            carry = run.carry(step=step)
            for epoch in range(9):
                optimizer.step()
                carry.step += 1
            return carry.step
        """,
    ),
    Case(
        "the number of batches is the same on every worker",
        """
        from torch.utils.data import DataLoader
        def count():
            loader = DataLoader(dataset)
            batches = 0
            for batch in loader:
                batches += 1
            return batches
        """,
        """
        from torch.utils.data import DataLoader
        def count():
            loader = DataLoader(dataset)
            carry = run.carry(batches=0)
            for batch in loader:
                carry.batches += 1
            return carry.batches
        """,
    ),
    Case(
        "what is set anew in every iteration is not carried",
        """
        import torch
        def main():
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            loss = None
            for epoch in range(9):
                loss = compute()
                print(loss)
                optimizer.step()
        """,
        None,
    ),
)
