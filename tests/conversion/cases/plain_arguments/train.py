"""Learns the sum of three numbers; its options are the words behind the script's name."""
import sys

import torch
from torch import nn

if len(sys.argv) < 2:
    print("usage: train.py STEPS [LR]")
    sys.exit(1)
steps = int(sys.argv[1])  # how long it trains
lr = float(sys.argv[2]) if len(sys.argv) > 2 else 0.05

torch.manual_seed(0)
model = nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=lr)
for step in range(steps):
    x = torch.rand(20, 3)
    loss = nn.functional.mse_loss(model(x), x.sum(dim=1, keepdim=True))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print("step %d of %d, loss: %.5f" % (step, steps, loss.item()))
