"""Keep the best weights, and come back to them."""

import argparse

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class Parity(Dataset):
    def __init__(self, size):
        self.x = torch.randint(0, 2, (size, 6)).float()

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], int(self.x[i].sum()) % 2


class Mlp(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a = torch.nn.Linear(6, 32)
        self.b = torch.nn.Linear(32, 2)

    def forward(self, x):
        return self.b(F.relu(self.a(x)))


def evaluate(net, loader):
    net.eval()
    correct = total = 0
    for x, y in loader:
        with torch.no_grad():
            _, guess = torch.max(net(x), 1)
        total += y.size(0)
        correct += (guess == y).sum().item()
    return 100.0 * correct / total


def run_epoch(net, loader, optimizer):
    net.train()
    for x, y in loader:
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="parity", help="name of the data")
    parser.add_argument("-e", "--epochs", type=int, default=4)
    parser.add_argument("--resume", help="weights to begin with")
    args = parser.parse_args()
    train_loader = DataLoader(Parity(256), batch_size=32, shuffle=True)
    val_loader = DataLoader(Parity(64), batch_size=32)
    net = Mlp()
    if args.resume:
        net.load_state_dict(torch.load(args.resume))
    optimizer = torch.optim.Adam(net.parameters())
    best_acc = 0.0
    history = []
    print("data:", args.data)
    for epoch in range(args.epochs):
        run_epoch(net, train_loader, optimizer)
        acc = evaluate(net, val_loader)
        history.append(acc)
        print("Epoch %d, validation accuracy %.2f" % (epoch, acc))
        if acc > best_acc:
            best_acc = acc
            torch.save(net.state_dict(), "best.pt")
    net.load_state_dict(torch.load("best.pt"))
    print("best accuracy", best_acc, "of", len(history))


if __name__ == "__main__":
    main()
