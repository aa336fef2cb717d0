import gzip
import json

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, IterableDataset


class Lines(IterableDataset):
    def __init__(self, path):
        self.path = path

    def __iter__(self):
        with gzip.open(self.path, "rt") as file:
            for line in file:
                row = json.loads(line)
                yield torch.tensor(row["x"]), torch.tensor(row["y"])


class SignDescent(Optimizer):
    def __init__(self, params, lr=1e-3):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.add_(p.grad.sign(), alpha=-group["lr"])


class Warmup(torch.optim.lr_scheduler.LRScheduler):
    def get_lr(self):
        return [base * min(1.0, self.last_epoch / 100) for base in self.base_lrs]


class Gated(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(n))
        self.inner = nn.Linear(n, 1)

    def forward(self, x):
        return self.inner(x * self.gate.sigmoid())


def objective(network, x, y):
    fit = (network(x).squeeze(1) - y).pow(2).mean()
    return fit + 1e-3 * network.gate.abs().sum()


if __name__ == "__main__":
    with open("stream.json") as f:
        settings = json.load(f)
    network = Gated(settings["width"])
    rule = SignDescent(network.parameters(), settings["lr"])
    warm = Warmup(rule)
    batches = DataLoader(Lines(settings["path"]), batch_size=32)
    for epoch in range(settings["epochs"]):
        for x, y in batches:
            value = objective(network, x, y)
            rule.zero_grad()
            value.backward()
            rule.step()
            warm.step()
