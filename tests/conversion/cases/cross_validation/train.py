"""Judges a small network by cross validation: each fold trains one of its own."""
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

FOLDS = 3
EPOCHS = 2
LR = 0.05


def fit(model, loader, rate):
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    criterion = nn.MSELoss()
    for epoch in range(EPOCHS):
        total = 0.0
        for x, y in loader:
            loss = criterion(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
        mean = total / len(loader.dataset)
        print(f"epoch {epoch} train loss {mean:.6f}")
    return mean


def judge(model, loader):
    wrong, seen = 0.0, 0
    model.eval()
    with torch.no_grad():
        for x, y in loader:
            wrong += (model(x) - y).abs().sum().item()
            seen += len(y)
    model.train()
    return wrong / seen


def main():
    torch.manual_seed(0)
    inputs = torch.randn(30, 4)
    data = TensorDataset(inputs, inputs.sum(dim=1, keepdim=True))
    order = np.random.RandomState(0).permutation(len(data))
    errors = np.zeros(FOLDS)
    losses = []
    for fold in range(FOLDS):
        held = order[fold::FOLDS].tolist()
        others = [i for i in order.tolist() if i not in held]
        train_loader = DataLoader(Subset(data, others), batch_size=5, shuffle=True)
        test_loader = DataLoader(Subset(data, held), batch_size=5)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        losses.append(fit(model, train_loader, LR))
        errors[fold] = judge(model, test_loader)
        print(f"fold {fold}: test error {errors[fold]:.6f}")
    print(f"mean of the losses {np.mean(losses):.6f}, of the errors {errors.mean():.6f}")


if __name__ == "__main__":
    main()
