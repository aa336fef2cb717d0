import random

import torch
from torch.utils.data import Dataset


def flip(x):
    return x.flip(-1) if random.random() < 0.5 else x


class Triples(Dataset):
    def __init__(self, path, transform=None):
        self.rows = torch.load(path)
        self.transform = transform

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        a, b, c = self.rows[i]
        if self.transform is not None:
            a = self.transform(a)
        return a, b, c
