"""Fits a plane; its options are in a file."""
import torch
import yaml
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

with open("options.yaml") as file:
    options = yaml.safe_load(file)


def make(count, noise):
    x = torch.rand(count, 2)
    return TensorDataset(x, x.sum(dim=1, keepdim=True) + noise * torch.randn(count, 1))


def main():
    torch.manual_seed(0)
    loader = DataLoader(make(**options["data"]), batch_size=options["batch_size"], shuffle=True)
    model = nn.Sequential(nn.Linear(2, options["layers"][0]), nn.Linear(options["layers"][1], 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=options["lr"])
    for epoch in range(options["rounds"]):
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: loss {total / len(loader):.6f}")


if __name__ == "__main__":
    main()
