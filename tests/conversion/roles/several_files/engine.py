import torch
import torch.nn.functional as F
from utils import Average


def train_one_epoch(model, loader, optimizer):
    mean = Average()
    model.train()
    for x, y in loader:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        mean.update(loss.item(), len(x))
    print("train", mean.avg)


@torch.no_grad()
def validate(model, loader):
    mean = Average()
    for x, y in loader:
        mean.update((model(x).argmax(1) == y).float().mean().item(), len(x))
    print("valid", mean.avg)
