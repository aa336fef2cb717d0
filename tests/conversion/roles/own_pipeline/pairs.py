import csv
import random

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, Sampler


def load_pairs(path):
    with open(path) as file:
        return [(row[0], row[1]) for row in csv.reader(file)]


class Pairs(Dataset):
    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        left, right = self.rows[i]
        return torch.tensor([ord(c) for c in left]), torch.tensor([ord(c) for c in right])


class ByLength(Sampler):
    def __init__(self, data, size):
        self.data = data
        self.size = size

    def __iter__(self):
        order = sorted(range(len(self.data)), key=lambda i: len(self.data.rows[i][0]))
        groups = [order[i : i + self.size] for i in range(0, len(order), self.size)]
        random.shuffle(groups)
        return iter(groups)

    def __len__(self):
        return len(self.data) // self.size


def pad(items):
    left, right = zip(*items)
    return pad_sequence(left, batch_first=True), pad_sequence(right, batch_first=True)


def seed_worker(number):
    random.seed(torch.initial_seed() % 2**32)


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(256, 16)
        self.out = nn.Linear(16, 256)

    def forward(self, x):
        return self.out(self.embed(x))


def build(path, size):
    data = Pairs(load_pairs(path))
    return DataLoader(data, batch_sampler=ByLength(data, size), collate_fn=pad, worker_init_fn=seed_worker)


def masked_loss(logits, y):
    each = nn.functional.cross_entropy(logits.transpose(1, 2), y, reduction="none")
    return (each * (y > 0)).sum() / (y > 0).sum()


def accuracy(logits, y):
    return (logits.argmax(-1) == y).float().mean().item()


def run_epoch(model, batches, optimizer=None):
    scores = []
    for x, y in batches:
        logits = model(x)
        loss = masked_loss(logits, y)
        if optimizer is not None:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scores.append(accuracy(logits, y))
    return sum(scores) / len(scores)


def main(path="pairs.csv"):
    model = Tagger()
    batches = build(path, 16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for epoch in range(4):
        print(epoch, run_epoch(model, batches, optimizer))


if __name__ == "__main__":
    main()
