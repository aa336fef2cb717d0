"""Tells odd from even; it is configured by a dictionary, a dataclass, a namespace and a class."""
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

config = {
    "lr": 0.05,  # how fast it learns
    "batch_size": 10,
    "optim": {"momentum": 0.9, "nesterov": True},
    "layers": [16, 2],
}
data = SimpleNamespace(count=60, bits=6)


class Config:
    epochs = 2  # passes
    log_every = 3


@dataclass
class ModelConfig:
    hidden: int = 16  # units of the inner layer
    dropout: float = 0.0
    act: str = "relu"


class Net(nn.Module):
    def __init__(self, cfg, bits):
        super().__init__()
        act = nn.ReLU() if cfg.act == "relu" else nn.Tanh()
        self.body = nn.Sequential(nn.Linear(bits, cfg.hidden), act, nn.Dropout(cfg.dropout), nn.Linear(cfg.hidden, 2))

    def forward(self, x):
        return self.body(x)


def show(step, loss):
    if step % Config.log_every == 0:
        print(f"step {step} loss {loss:.5f}")


torch.manual_seed(0)
numbers = torch.randint(2**data.bits, (data.count,))
bits = torch.stack([(numbers >> i) & 1 for i in range(data.bits)], dim=1).float()
loader = DataLoader(TensorDataset(bits, numbers % 2), batch_size=config["batch_size"], shuffle=True)
model_config = ModelConfig(hidden=12)
print(model_config, sorted(config))
model = Net(model_config, data.bits)
optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"], **config["optim"])
for epoch in range(Config.epochs):
    for step, (x, y) in enumerate(loader):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        show(step, loss.item())
