import argparse

import torch
from torch import nn, optim
from torch.nn import functional as F
from torchvision import datasets, transforms
from torchvision.utils import save_image

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--no-cuda", action="store_true")
args = parser.parse_args()
device = torch.device("cpu" if args.no_cuda else "cuda")
kwargs = {"num_workers": 1} if not args.no_cuda else {}
train_loader = torch.utils.data.DataLoader(
    datasets.FashionMNIST("data", download=True, transform=transforms.ToTensor()), shuffle=True, **kwargs
)


class Squeeze(nn.Module):
    def __init__(self):
        super().__init__()
        self.inward = nn.Linear(784, 40)
        self.outward = nn.Linear(20, 784)

    def forward(self, x):
        mean, spread = self.inward(x.view(-1, 784)).chunk(2, 1)
        z = mean + torch.randn_like(mean) * (0.5 * spread).exp()
        return torch.sigmoid(self.outward(z)), mean, spread


def elbo(again, x, mean, spread):
    rebuilt = F.binary_cross_entropy(again, x.view(-1, 784), reduction="sum")
    prior = -0.5 * torch.sum(1 + spread - mean.pow(2) - spread.exp())
    return rebuilt + prior


model = Squeeze().to(device)
optimizer = optim.Adam(model.parameters(), lr=1e-3)


def train(epoch):
    model.train()
    total = 0
    for i, (x, _) in enumerate(train_loader):
        x = x.to(device)
        optimizer.zero_grad()
        again, mean, spread = model(x)
        loss = elbo(again, x, mean, spread)
        loss.backward()
        total += loss.item()
        optimizer.step()
    print("epoch {} loss {:.3f}".format(epoch, total / len(train_loader.dataset)))


def show(epoch):
    with torch.no_grad():
        save_image(torch.sigmoid(model.outward(torch.randn(16, 20).to(device))), f"{epoch}.png")


if __name__ == "__main__":
    for epoch in range(1, args.epochs + 1):
        train(epoch)
        show(epoch)
