import argparse

import torch
from torch import autograd, nn, optim
from torch.utils.data import DataLoader
from torchvision import datasets, transforms, utils


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--weight", type=float, default=10.0)
    parser.add_argument("--every", type=int, default=5)
    return parser.parse_args()


class Maker(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(100, 256), nn.ReLU(), nn.Linear(256, 784), nn.Tanh())

    def forward(self, z):
        return self.layers(z)


class Judge(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(784, 256), nn.LeakyReLU(), nn.Linear(256, 1))

    def forward(self, x):
        return self.layers(x)


def penalty(judge, real, fake):
    mix = torch.rand(len(real), 1)
    between = (mix * real + (1 - mix) * fake).requires_grad_(True)
    grads = autograd.grad(judge(between).sum(), between, create_graph=True)[0]
    return ((grads.norm(2, dim=1) - 1) ** 2).mean()


def endless(loader):
    while True:
        yield from loader


def main():
    opt = options()
    digits = datasets.MNIST("data", transform=transforms.ToTensor())
    stream = endless(DataLoader(digits, 64, shuffle=True))
    maker, judge = Maker(), Judge()
    maker_opt = optim.RMSprop(maker.parameters(), 5e-5)
    judge_opt = optim.RMSprop(judge.parameters(), 5e-5)
    for it in range(10000):
        for _ in range(opt.every):
            real = next(stream)[0].flatten(1)
            fake = maker(torch.randn(len(real), 100)).detach()
            gp = penalty(judge, real, fake)
            judge_loss = judge(fake).mean() - judge(real).mean() + opt.weight * gp
            judge_opt.zero_grad()
            judge_loss.backward()
            judge_opt.step()
        maker_loss = -judge(maker(torch.randn(64, 100))).mean()
        maker_opt.zero_grad()
        maker_loss.backward()
        maker_opt.step()
        if it % 500 == 0:
            utils.save_image(maker(torch.randn(16, 100)).view(-1, 1, 28, 28), f"{it}.png")


if __name__ == "__main__":
    main()
