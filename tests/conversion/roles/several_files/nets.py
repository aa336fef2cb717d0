from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.inner = nn.Linear(width, width)

    def forward(self, x):
        return x + self.inner(x).relu()


def build_model(cfg):
    return nn.Sequential(nn.Linear(8, cfg.width), Block(cfg.width), nn.Linear(cfg.width, 2))
