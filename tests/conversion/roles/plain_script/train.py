"""Train a small network on handwritten figures."""
import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import optim
from torch.utils.data import DataLoader
from torchvision import datasets, transforms


class Digits(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.first = nn.Linear(784, hidden)
        self.second = nn.Linear(hidden, 10)

    def forward(self, x):
        return self.second(F.relu(self.first(x.flatten(1))))


def train(args, net, device, batches, opt, epoch):
    net.train()
    for number, (x, y) in enumerate(batches):
        x, y = x.to(device), y.to(device)
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        if number % args.every == 0:
            print(epoch, number, loss.item())


def test(net, device, batches):
    net.eval()
    right = 0
    with torch.no_grad():
        for x, y in batches:
            right += (net(x.to(device)).argmax(1) == y.to(device)).sum().item()
    print("accuracy", right / len(batches.dataset))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--every", type=int, default=10)
    args = parser.parse_args()
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    prepare = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1,), (0.3,))])
    figures = datasets.MNIST("data", train=True, download=True, transform=prepare)
    others = datasets.MNIST("data", train=False, transform=prepare)
    train_batches = DataLoader(figures, batch_size=64, shuffle=True)
    test_batches = DataLoader(others, batch_size=256)
    net = Digits(100).to(device)
    opt = optim.SGD(net.parameters(), lr=args.lr)
    slow_down = optim.lr_scheduler.StepLR(opt, 1)
    for epoch in range(args.epochs):
        train(args, net, device, train_batches, opt, epoch)
        test(net, device, test_batches)
        slow_down.step()
    torch.save(net.state_dict(), "digits.pt")


if __name__ == "__main__":
    main()
