# Copyright of somebody, who wants to be named.
"""A line through noise; no options at all."""

import torch
from torch.nn.functional import mse_loss

STEPS = 50
RATE = 0.1


def sample():
    x = torch.rand(8, 1)
    return x, 3 * x + 1


def main():
    weights = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(weights.parameters(), lr=RATE)
    for step in range(STEPS):
        x, y = sample()
        loss = mse_loss(weights(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print("step", step, "loss:", loss.item())


if __name__ == "__main__":
    main()
