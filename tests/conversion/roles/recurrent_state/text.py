import os
import time

import torch
import torch.nn as nn
import torch.optim as optim


class Corpus:
    def __init__(self, folder):
        self.ids = {}
        self.train = self.read(os.path.join(folder, "train.txt"))
        self.valid = self.read(os.path.join(folder, "valid.txt"))

    def read(self, path):
        with open(path) as f:
            return torch.tensor([self.ids.setdefault(w, len(self.ids)) for line in f for w in line.split()])


def fold(ids, rows):
    length = len(ids) // rows
    return ids[: length * rows].view(rows, length).t().contiguous()


def window(source, at, width=20):
    n = min(width, len(source) - 1 - at)
    return source[at : at + n], source[at + 1 : at + 1 + n].reshape(-1)


def cut_loose(state):
    return tuple(s.detach() for s in state)


class Teller(nn.Module):
    def __init__(self, words, width):
        super().__init__()
        self.inward = nn.Embedding(words, width)
        self.memory = nn.LSTM(width, width, 2, dropout=0.2)
        self.outward = nn.Linear(width, words)

    def forward(self, x, state=None):
        h, state = self.memory(self.inward(x), state)
        return self.outward(h).flatten(0, 1), state


corpus = Corpus("tales")
train_ids, valid_ids = fold(corpus.train, 20), fold(corpus.valid, 10)
teller = Teller(len(corpus.ids), 200)
xent = nn.CrossEntropyLoss()
sgd = optim.SGD(teller.parameters(), lr=20.0)
plateau = optim.lr_scheduler.ReduceLROnPlateau(sgd, factor=0.25, patience=0)
CLIP = 0.25


def perplexity(source):
    teller.eval()
    total, state = 0.0, None
    with torch.no_grad():
        for at in range(0, len(source) - 1, 20):
            x, y = window(source, at)
            out, state = teller(x, state)
            total += len(x) * xent(out, y).item()
    return total / len(source)


def one_pass():
    teller.train()
    state = None
    for at in range(0, len(train_ids) - 1, 20):
        x, y = window(train_ids, at)
        if state is not None:
            state = cut_loose(state)
        out, state = teller(x, state)
        cost = xent(out, y)
        sgd.zero_grad()
        cost.backward()
        nn.utils.clip_grad_norm_(teller.parameters(), CLIP)
        sgd.step()


try:
    for number in range(40):
        began = time.time()
        one_pass()
        found = perplexity(valid_ids)
        plateau.step(found)
        print("| pass {:3d} | {:5.1f}s | {:5.2f}".format(number, time.time() - began, found))
        with open("teller.pt", "wb") as f:
            torch.save(teller, f)
except KeyboardInterrupt:
    print("stopped")
