import math
import os
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

out_dir = "out"
batch_size = 12
block = 64
max_iters = 2000
learning_rate = 6e-4
warmup = 100
device = "cpu"

text = np.memmap("chars.bin", dtype=np.uint16, mode="r")


def get_batch(split):
    start = 0 if split == "train" else len(text) // 2
    ix = torch.randint(start, start + len(text) // 2 - block, (batch_size,))
    x = torch.stack([torch.from_numpy(text[i : i + block].astype(np.int64)) for i in ix])
    y = torch.stack([torch.from_numpy(text[i + 1 : i + 1 + block].astype(np.int64)) for i in ix])
    return x.to(device), y.to(device)


class Tiny(nn.Module):
    def __init__(self, vocab, width):
        super().__init__()
        self.table = nn.Embedding(vocab, width)
        self.layer = nn.TransformerEncoderLayer(width, 4, batch_first=True)
        self.head = nn.Linear(width, vocab)

    def forward(self, x, y=None):
        logits = self.head(self.layer(self.table(x)))
        loss = None if y is None else F.cross_entropy(logits.flatten(0, 1), y.flatten())
        return logits, loss


model = Tiny(128, 64).to(device)
optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
iter_num = 0
best = 1e9


def rate_at(it):
    if it < warmup:
        return learning_rate * it / warmup
    return learning_rate * 0.5 * (1 + math.cos(math.pi * it / max_iters))


@torch.no_grad()
def estimate():
    found = {}
    model.eval()
    for split in ("train", "val"):
        losses = [model(*get_batch(split))[1].item() for _ in range(20)]
        found[split] = sum(losses) / len(losses)
    model.train()
    return found


while True:
    for group in optimizer.param_groups:
        group["lr"] = rate_at(iter_num)
    if iter_num % 200 == 0:
        both = estimate()
        if both["val"] < best:
            best = both["val"]
            torch.save({"model": model.state_dict(), "iter": iter_num}, os.path.join(out_dir, "ckpt.pt"))
    x, y = get_batch("train")
    logits, loss = model(x, y)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    iter_num += 1
    if iter_num > max_iters:
        break
