import argparse
import os

import torch
import torch.nn as nn
from torch.cuda.amp import GradScaler, autocast
from torch.utils.data import DataLoader
from torchvision import datasets, models, transforms
from tqdm import tqdm


def parse():
    p = argparse.ArgumentParser("classify pictures")
    p.add_argument("data")
    p.add_argument("--accumulate", default=4, type=int)
    p.add_argument("--resume", default="", type=str)
    p.add_argument("--lr", default=0.1, type=float)
    return p.parse_args()


class Meter:
    def __init__(self, name):
        self.name = name
        self.reset()

    def reset(self):
        self.sum = self.n = 0

    def update(self, value, n=1):
        self.sum += value * n
        self.n += n

    @property
    def mean(self):
        return self.sum / max(self.n, 1)


def top_k(output, target, k=5):
    _, found = output.topk(k, 1)
    return found.eq(target.view(-1, 1)).any(1).float().mean().item()


def adjust(optimizer, epoch, args):
    rate = args.lr * 0.1 ** (epoch // 30)
    for group in optimizer.param_groups:
        group["lr"] = rate


def train(loader, model, criterion, optimizer, scaler, args):
    losses = Meter("loss")
    model.train()
    for i, (x, y) in enumerate(tqdm(loader)):
        x, y = x.cuda(), y.cuda()
        with autocast():
            loss = criterion(model(x), y) / args.accumulate
        scaler.scale(loss).backward()
        if (i + 1) % args.accumulate == 0:
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
        losses.update(loss.item(), len(x))
    return losses.mean


def validate(loader, model, criterion):
    losses, tops = Meter("loss"), Meter("top5")
    model.eval()
    with torch.no_grad():
        for x, y in tqdm(loader):
            out = model(x.cuda())
            losses.update(criterion(out, y.cuda()).item(), len(x))
            tops.update(top_k(out, y.cuda()), len(x))
    return tops.mean


def save(state, is_best, path="last.pth"):
    torch.save(state, path)
    if is_best:
        torch.save(state, "best.pth")


def main():
    args = parse()
    torch.backends.cudnn.benchmark = True
    model = nn.DataParallel(models.resnet50()).cuda()
    criterion = nn.CrossEntropyLoss().cuda()
    optimizer = torch.optim.SGD(model.parameters(), args.lr, momentum=0.9, weight_decay=1e-4)
    scaler = GradScaler()
    begin, best = 0, 0.0
    if os.path.isfile(args.resume):
        state = torch.load(args.resume)
        begin = state["epoch"]
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    usual = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    seen = datasets.ImageFolder(
        os.path.join(args.data, "train"),
        transforms.Compose([transforms.RandomHorizontalFlip(), transforms.ToTensor(), usual]),
    )
    unseen = datasets.ImageFolder(
        os.path.join(args.data, "val"), transforms.Compose([transforms.ToTensor(), usual])
    )
    train_loader = DataLoader(seen, 256, shuffle=True, num_workers=4, pin_memory=True)
    val_loader = DataLoader(unseen, 256, num_workers=4)
    for epoch in range(begin, 90):
        adjust(optimizer, epoch, args)
        train(train_loader, model, criterion, optimizer, scaler, args)
        acc = validate(val_loader, model, criterion)
        save({"epoch": epoch + 1, "model": model.state_dict(), "optimizer": optimizer.state_dict()}, acc > best)
        best = max(best, acc)


if __name__ == "__main__":
    main()
