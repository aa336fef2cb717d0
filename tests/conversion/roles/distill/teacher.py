from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.utils.data import ConcatDataset, DataLoader, Dataset


@dataclass
class Settings:
    width: int = 32
    heat: float = 4.0
    share: float = 0.5
    sizes: list = field(default_factory=lambda: [64, 32])


class Rings(Dataset):
    def __init__(self, n, noise):
        rng = np.random.default_rng(n)
        self.y = rng.integers(0, 2, n)
        angle = rng.uniform(0, 2 * np.pi, n)
        radius = 1 + self.y + noise * rng.standard_normal(n)
        self.x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).astype("float32")

    def __len__(self):
        return len(self.y)

    def __getitem__(self, k):
        return self.x[k], self.y[k]


def mlp(*sizes):
    layers = []
    for a, b in zip(sizes, sizes[1:]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def soften(student_out, teacher_out, heat):
    p = F.log_softmax(student_out / heat, 1)
    q = F.softmax(teacher_out / heat, 1)
    return F.kl_div(p, q, reduction="batchmean") * heat**2


class Distiller:
    def __init__(self, settings: Settings):
        self.settings = settings
        self.teacher = mlp(2, *settings.sizes, 2)
        self.student = mlp(2, settings.width, 2)
        rings = ConcatDataset([Rings(500, 0.1), Rings(400, 0.3)])
        self.feed = DataLoader(rings, batch_size=32, shuffle=True)
        self.hard = nn.CrossEntropyLoss()

    def teach(self, epochs):
        opt = optim.Adam(self.teacher.parameters())
        for _ in range(epochs):
            for x, y in self.feed:
                loss = self.hard(self.teacher(x), y)
                opt.zero_grad()
                loss.backward()
                opt.step()

    def learn(self, epochs):
        opt = optim.Adam(self.student.parameters())
        for _ in range(epochs):
            for x, y in self.feed:
                with torch.no_grad():
                    wanted = self.teacher(x)
                out = self.student(x)
                soft = soften(out, wanted, self.settings.heat)
                loss = self.settings.share * soft + (1 - self.settings.share) * self.hard(out, y)
                opt.zero_grad()
                loss.backward()
                opt.step()

    def rate(self, net):
        net.eval()
        with torch.no_grad():
            hits = [(net(x).argmax(1) == y).float().mean().item() for x, y in self.feed]
        return sum(hits) / len(hits)


def main():
    torch.manual_seed(5)
    distiller = Distiller(Settings())
    distiller.teach(3)
    distiller.learn(5)
    print(distiller.rate(distiller.teacher), distiller.rate(distiller.student))


main()
