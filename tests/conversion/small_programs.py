"""A small program that trains, to be made worse; and what a folder holds."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent

HEAD = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
"""
BODY = """
data = TensorDataset(torch.randn(64, 3), torch.randn(64, 1))
loader = DataLoader(data, batch_size=8)
model = nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(3):
    for x, y in loader:
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
"""


def program(*, head: str = "", body: str = BODY, tail: str = "", top: str = "", name: str = "main") -> str:
    """A small program that converts, with something added: imports, definitions, lines of `main`."""
    inside = indent(dedent(top) + body + dedent(tail), "    ")
    guard = f'\n\nif __name__ == "__main__":\n    {name}()\n'
    return f"{HEAD}{dedent(head)}\n\ndef {name}():{inside}{guard}"


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(x.relative_to(folder)): x.read_bytes() for x in folder.rglob("*") if x.is_file()}
