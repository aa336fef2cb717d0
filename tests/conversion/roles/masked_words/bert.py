"""Fill in masked words; the model, its loss and the steps are written out."""
import math
import random
from collections import Counter
from pathlib import Path

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Subset, RandomSampler, Dataset
import torchmetrics

WIDTH, HEADS = 64, 4
FILE = Path("words.txt")
mask_rate = 0.15


def vocabulary(lines):
    counts = Counter(w for line in lines for w in line.split())
    return {w: i + 2 for i, (w, _) in enumerate(counts.most_common(5000))}


class Masked(Dataset):
    def __init__(self, lines, vocab):
        self.lines, self.vocab = lines, vocab

    def __len__(self):
        return len(self.lines)

    def __getitem__(self, i):
        return [self.vocab.get(w, 1) for w in self.lines[i].split()]


class MaskBatch:
    def __init__(self, rate):
        self.rate = rate

    def __call__(self, rows):
        y = nn.utils.rnn.pad_sequence([torch.tensor(r) for r in rows], batch_first=True)
        x = y.clone()
        x[torch.rand(x.shape) < self.rate] = 1
        return x, y


class Positions(nn.Module):
    def forward(self, x):
        steps = torch.arange(x.shape[1]).unsqueeze(1) * torch.exp(torch.arange(0, WIDTH, 2) * (-math.log(1e4) / WIDTH))
        return x + torch.cat([steps.sin(), steps.cos()], 1)


class Filler(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.embed = nn.Embedding(size, WIDTH)
        self.place = Positions()
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(WIDTH, HEADS, batch_first=True) for _ in range(2))
        self.out = nn.Linear(WIDTH, size)

    def forward(self, x):
        h = self.place(self.embed(x))
        for block in self.blocks:
            h = block(h)
        return self.out(h)


def noam(step):
    return min((step + 1) ** -0.5, (step + 1) * 400**-1.5)


def evaluate(model, batches, metric):
    model.eval()
    metric.reset()
    with torch.inference_mode():
        for x, y in batches:
            metric.update(model(x).flatten(0, 1), y.flatten())
    model.train()
    return metric.compute().item()


def save_checkpoint(model, optimizer, step):
    torch.save([model.state_dict(), optimizer.state_dict(), step], f"step{step}.pt")


lines = FILE.read_text().splitlines()
vocab = vocabulary(lines)
corpus = Masked(lines, vocab)
cut = len(corpus) // 10
held = Subset(corpus, range(cut))
rest = Subset(corpus, range(cut, len(corpus)))
mask = MaskBatch(mask_rate)
loader = DataLoader(rest, 32, sampler=RandomSampler(rest), collate_fn=mask)
held_loader = DataLoader(held, 64, collate_fn=mask)
filler = Filler(len(vocab) + 2)
opt = torch.optim.Adam(filler.parameters(), lr=1.0)
plan = torch.optim.lr_scheduler.LambdaLR(opt, noam)
ce = nn.CrossEntropyLoss(ignore_index=0)
hits = torchmetrics.Accuracy(task="multiclass", num_classes=len(vocab) + 2)
random.seed(0)
step = 0
for epoch in range(10):
    for x, y in loader:
        cost = ce(filler(x).transpose(1, 2), y)
        opt.zero_grad()
        cost.backward()
        opt.step()
        plan.step()
        step += 1
    print(epoch, evaluate(filler, held_loader, hits))
    save_checkpoint(filler, opt, step)
