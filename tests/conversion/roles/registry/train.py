import argparse

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, random_split
from torchvision import datasets, models, transforms

from metrics import top1
from options import add_options

CHOICES = sorted(name for name in models.__dict__ if name.islower() and callable(models.__dict__[name]))


def get_model(name, classes):
    net = models.__dict__[name](num_classes=classes)
    return net


def freeze(net):
    for p in net.parameters():
        p.requires_grad = False


def get_data(root, size):
    tf = transforms.Compose([transforms.Resize(size), transforms.ToTensor()])
    whole = datasets.CIFAR10(root, download=True, transform=tf)
    return random_split(whole, [45000, 5000])


def step_fn(net, batch, criterion, device):
    x, y = batch
    out = net(x.to(device))
    return criterion(out, y.to(device)), top1(out, y)


def loop(net, loader, criterion, device, optimizer=None):
    total = 0.0
    for batch in loader:
        loss, hit = step_fn(net, batch, criterion, device)
        if optimizer:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        total += hit
    return total / len(loader)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    add_options(parser)
    opts = parser.parse_args()
    dev = "cuda" if torch.cuda.is_available() else "cpu"
    fit_set, val_set = get_data(opts.root, 64)
    fit_loader = DataLoader(fit_set, opts.batch, shuffle=True)
    val_loader = DataLoader(val_set, opts.batch)
    net = get_model(opts.arch, 10).to(dev)
    if opts.freeze:
        freeze(net)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    optimizer = torch.optim.SGD(net.parameters(), lr=opts.lr)
    sched = torch.optim.lr_scheduler.OneCycleLR(optimizer, opts.lr, epochs=opts.epochs, steps_per_epoch=1)
    for epoch in range(opts.epochs):
        print(loop(net, fit_loader, criterion, dev, optimizer))
        with torch.no_grad():
            print(loop(net, val_loader, criterion, dev))
        sched.step()
