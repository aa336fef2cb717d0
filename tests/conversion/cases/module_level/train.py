"""A classifier of points in a ring, written from top to bottom, with functions that read globals."""
import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser(description="points in a ring")
parser.add_argument("--epochs", type=int, default=2, help="passes over the points")
parser.add_argument("--lr", type=float, default=0.05, help="learning rate")
args = parser.parse_args()

torch.manual_seed(3)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
batch_size = 16
width = 2 * batch_size
TEST_BATCH = 10


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(2, width)
        self.out = nn.Linear(width, 1)

    def forward(self, x):
        return self.out(torch.tanh(self.hidden(x.to(device)))).squeeze(1)


points = torch.randn(70, 2)
labels = (points.norm(dim=1) > 1).float()
train_loader = DataLoader(TensorDataset(points[:50], labels[:50]), batch_size=batch_size, shuffle=True)
test_loader = DataLoader(TensorDataset(points[50:], labels[50:]), batch_size=TEST_BATCH)
model = Net().to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)


def loss_of(x, y):
    return F.binary_cross_entropy_with_logits(model(x), y.to(device))


def train(epoch):
    model.train()
    for i, (x, y) in enumerate(train_loader):
        optimizer.zero_grad()
        loss = loss_of(x, y)
        loss.backward()
        optimizer.step()
        if i % 2 == 0:
            print("epoch %d batch %d loss %.4f" % (epoch, i, loss.item()))


def test():
    model.eval()
    correct = 0
    with torch.no_grad():
        for x, y in test_loader:
            correct += ((model(x) > 0) == y.to(device).bool()).sum().item()
    print("test accuracy: {:.3f}".format(correct / len(test_loader.dataset)))


for epoch in range(args.epochs):
    train(epoch)
    test()

