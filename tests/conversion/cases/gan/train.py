"""Two networks against each other, on points of a ring."""

import argparse
import math

import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset


def ring(count):
    angle = torch.rand(count) * 2 * math.pi
    return torch.stack([angle.cos(), angle.sin()], dim=1)


class Forger(nn.Module):
    def __init__(self, noise):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(noise, 16), nn.ReLU(), nn.Linear(16, 2))

    def forward(self, z):
        return self.layers(z)


class Judge(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, x):
        return self.layers(x).squeeze(1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--noise", default=4, type=int, help="size of the noise")
    parser.add_argument("--rounds", default=3, type=int)
    opt = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    points = DataLoader(TensorDataset(ring(256)), batch_size=32, shuffle=True)
    forger = Forger(opt.noise).to(device)
    judge = Judge().to(device)
    criterion = nn.BCEWithLogitsLoss()
    forger_step = optim.Adam(forger.parameters(), lr=1e-3)
    judge_step = optim.Adam(judge.parameters(), lr=1e-3)

    for epoch in range(opt.rounds):
        for i, (real,) in enumerate(points):
            real = real.to(device)
            ones = torch.ones(real.size(0), device=device)
            judge_step.zero_grad()
            fake = forger(torch.randn(real.size(0), opt.noise, device=device))
            loss_judge = criterion(judge(real), ones) + criterion(judge(fake.detach()), 1 - ones)
            loss_judge.backward()
            judge_step.step()

            forger_step.zero_grad()
            loss_forger = criterion(judge(fake), ones)
            loss_forger.backward()
            forger_step.step()
            if i % 4 == 0:
                print(
                    "[%d/%d][%d/%d] Loss_Judge: %.4f Loss_Forger: %.4f"
                    % (epoch, opt.rounds, i, len(points), loss_judge.item(), loss_forger.item())
                )
        torch.save(forger.state_dict(), "forger_%d.pt" % epoch)


if __name__ == "__main__":
    main()
