"""Fits a line; its model and data are in files of their own."""
import torch
from torch.utils.data import DataLoader

import helper
from parts import Line
from parts.data import Points as PointSet


def accuracy(model, loader):
    accuracy = 0.0
    with torch.no_grad():
        for x, y in loader:
            accuracy += helper.accuracy(model(x), y)
    return accuracy / len(loader.dataset)


if __name__ == "__main__":
    torch.manual_seed(0)
    loader = DataLoader(PointSet(24), batch_size=5, shuffle=True)
    model = Line()
    optimizer = torch.optim.SGD(model.parameters(), lr=helper.RATE)
    criterion = torch.nn.MSELoss()
    for epoch in range(3):
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
        print(f"epoch {epoch} train loss {total / len(loader.dataset):.5f} accuracy {accuracy(model, loader):.3f}")
