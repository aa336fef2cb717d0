import torch
from torch.utils.data import Dataset


def accuracy():
    """Not the accuracy of anybody else."""
    return 1.0


class Points(Dataset):
    def __init__(self, n):
        self.x = torch.linspace(-1, 1, n)[:, None]
        self.y = 2 * self.x * accuracy() + 1

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index], self.y[index]
