import copy
import click
import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Table(Dataset):
    def __init__(self, frame):
        self.x = torch.tensor(frame.drop(columns="y").values).float()
        self.y = torch.tensor(frame["y"].values).float()

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class Patience:
    def __init__(self, turns):
        self.turns = turns
        self.best = None
        self.waited = 0
        self.weights = None

    def stop(self, value, model):
        if self.best is None or value < self.best:
            self.best, self.waited = value, 0
            self.weights = copy.deepcopy(model.state_dict())
            torch.save(self.weights, "best.pt")
        else:
            self.waited += 1
        return self.waited >= self.turns


def read(path):
    frame = pd.read_csv(path)
    return frame.sample(frac=1.0)


class Huber(nn.Module):
    def __init__(self, edge):
        super().__init__()
        self.edge = edge

    def forward(self, guess, y):
        gap = (guess - y).abs()
        return torch.where(gap < self.edge, 0.5 * gap**2, self.edge * (gap - 0.5 * self.edge)).mean()


def score(net, loader, criterion):
    net.eval()
    with torch.no_grad():
        found = [criterion(net(x).squeeze(1), y).item() for x, y in loader]
    net.train()
    return sum(found) / len(found)


@click.command()
@click.option("--path", default="table.csv")
@click.option("--lr", default=0.01)
def run(path, lr):
    frame = read(path)
    cut = int(0.8 * len(frame))
    first, second = Table(frame[:cut]), Table(frame[cut:])
    train_loader, valid_loader = DataLoader(first, 32, shuffle=True), DataLoader(second, 128)
    net = nn.Sequential(nn.Linear(first.x.shape[1], 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    criterion = Huber(1.0)
    patience = Patience(5)
    for epoch in range(100):
        for x, y in train_loader:
            loss = criterion(net(x).squeeze(1), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        value = score(net, valid_loader, criterion)
        scheduler.step(value)
        if patience.stop(value, net):
            break


if __name__ == "__main__":
    run()
