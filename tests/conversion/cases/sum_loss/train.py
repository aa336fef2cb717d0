"""A small variational autoencoder, whose loss is a sum over the batch."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.inward = nn.Linear(12, 4)
        self.outward = nn.Linear(2, 12)

    def encode(self, x):
        return self.inward(x).chunk(2, dim=1)

    def forward(self, x):
        mu, logvar = self.encode(x)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
        return torch.sigmoid(self.outward(z)), mu, logvar


def objective(rebuilt, x, mu, logvar):
    error = F.binary_cross_entropy(rebuilt, x, reduction="sum")
    divergence = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return error + divergence


def train(epoch, model, loader, optimizer, args):
    train_loss = 0
    for i, (data,) in enumerate(loader):
        optimizer.zero_grad()
        rebuilt, mu, logvar = model(data)
        loss = objective(rebuilt, data, mu, logvar)
        loss.backward()
        train_loss += loss.item()
        optimizer.step()
        if i % args.log_interval == 0:
            print("Batch {} Loss: {:.6f}".format(i, loss.item() / len(data)))
    print("====> Epoch: {} Average loss: {:.4f}".format(epoch, train_loss / len(loader.dataset)))


def test(model, loader):
    test_loss = 0
    with torch.no_grad():
        for (data,) in loader:
            rebuilt, mu, logvar = model(data)
            test_loss += objective(rebuilt, data, mu, logvar).item()
    test_loss /= len(loader.dataset)
    print("====> Test set loss: {:.4f}".format(test_loss))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--log-interval", type=int, default=3)
    args = parser.parse_args()
    train_loader = DataLoader(TensorDataset(torch.rand(64, 12)), batch_size=8, shuffle=True)
    test_loader = DataLoader(TensorDataset(torch.rand(32, 12)), batch_size=8)
    model = Autoencoder()
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(1, 4):
        train(epoch, model, train_loader, optimizer, args)
        test(model, test_loader)
        with torch.no_grad():
            sample = model.outward(torch.randn(4, 2))
            torch.save(sample, f"sample_{epoch}.pt")


if __name__ == "__main__":
    main()
