"""Stop when the validation loss has not become better for a while."""

import copy

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

PATIENCE = 2


def loss_on(model, loader):
    total = 0.0
    with torch.no_grad():
        for x, y in loader:
            total += nn.functional.mse_loss(model(x), y, reduction="sum").item()
    return total / len(loader.dataset)


def main():
    torch.manual_seed(0)
    x = torch.randn(100, 3)
    y = x @ torch.ones(3, 1)
    train_loader = DataLoader(TensorDataset(x[:80], y[:80]), batch_size=10, shuffle=True)
    val_loader = DataLoader(TensorDataset(x[80:], y[80:]), batch_size=10)
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    best_loss = float("inf")
    best_state = copy.deepcopy(model.state_dict())
    bad_epochs = 0
    for epoch in range(30):
        for inputs, targets in train_loader:
            optimizer.zero_grad()
            nn.functional.mse_loss(model(inputs), targets).backward()
            optimizer.step()
        val_loss = loss_on(model, val_loader)
        print(f"epoch {epoch}: validation loss {val_loss:.5f}")
        if val_loss < best_loss:
            best_loss = val_loss
            best_state = copy.deepcopy(model.state_dict())
            bad_epochs = 0
        else:
            bad_epochs += 1
            if bad_epochs >= PATIENCE:
                break
    model.load_state_dict(best_state)
    print("best", best_loss)


if __name__ == "__main__":
    main()
