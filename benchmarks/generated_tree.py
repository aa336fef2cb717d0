"""A tree of modules that resembles research code, the same each time, for the benchmark of analysis."""

from __future__ import annotations

from pathlib import Path

_KINDS = ("classify", "adversarial", "sequences", "by_class")


def model_module(number: int) -> str:
    """Return a module of network blocks."""
    parts = ["import torch\nfrom torch import nn\nimport torch.nn.functional as F\n"]
    for k in range(6):
        parts.append(f'''

class Block{k}(nn.Module):
    """A residual block, number {k} of project {number}."""

    def __init__(self, width: int, dropout: float = 0.{k + 1}) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first = nn.Linear(width, {k + 2} * width)
        self.second = nn.Linear({k + 2} * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        h = F.gelu(self.first(self.norm(x)))
        if self.training and h.shape[0] > {k + number % 7}:
            h = self.dropout(h)
        return x + self.second(h)
''')
    parts.append("""

class Net(nn.Module):
    def __init__(self, num_inputs, width, num_classes, depth=4):
        super().__init__()
        kinds = [Block0, Block1, Block2, Block3, Block4, Block5]
        self.inward = nn.Linear(num_inputs, width)
        self.blocks = nn.ModuleList([kinds[i % len(kinds)](width) for i in range(depth)])
        self.outward = nn.Linear(width, num_classes)

    def forward(self, x):
        h = self.inward(x.flatten(1))
        for block in self.blocks:
            h = block(h)
        return self.outward(h)


def build_model(args):
    model = Net(args.num_inputs, args.width, args.num_classes, args.depth)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    return model
""")
    return "".join(parts)


def data_module(number: int) -> str:
    """Return a module of data sets and loaders."""
    return f"""import csv
import os
import random

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler


def read_rows(path):
    rows = []
    with open(path, newline="") as file:
        for row in csv.reader(file):
            if not row or row[0].startswith("#"):
                continue
            rows.append(([float(x) for x in row[:-1]], int(row[-1])))
    return rows


class Rows(Dataset):
    def __init__(self, folder, split, transform=None):
        self.rows = read_rows(os.path.join(folder, split + ".csv"))
        self.transform = transform

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        values, label = self.rows[index]
        x = torch.tensor(values)
        if self.transform is not None:
            x = self.transform(x)
        return x, label


class Balanced(Sampler):
    def __init__(self, labels, seed={number}):
        self.labels = np.asarray(labels)
        self.rng = np.random.RandomState(seed)

    def __iter__(self):
        groups = [np.flatnonzero(self.labels == k) for k in np.unique(self.labels)]
        order = np.concatenate([self.rng.permutation(g) for g in groups])
        return iter(order.tolist())

    def __len__(self):
        return len(self.labels)


def jitter(x):
    return x + 0.0{number % 9 + 1} * torch.randn_like(x)


def collate(rows):
    xs, ys = zip(*rows)
    return torch.stack(xs), torch.tensor(ys)


def make_loaders(args):
    train = Rows(args.data, "train", transform=jitter)
    held = Rows(args.data, "held")
    loader = DataLoader(train, batch_size=args.batch_size, shuffle=True, collate_fn=collate)
    return loader, DataLoader(held, batch_size=4 * args.batch_size, collate_fn=collate)


def set_seed(seed):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
"""


def engine_module(number: int) -> str:
    """Return a module of training and evaluation functions."""
    return f"""import torch
import torch.nn.functional as F


class Average:
    def __init__(self):
        self.reset()

    def reset(self):
        self.total, self.count = 0.0, 0

    def update(self, value, n=1):
        self.total += value * n
        self.count += n

    @property
    def avg(self):
        return self.total / max(self.count, 1)


def accuracy(logits, y):
    return (logits.argmax(1) == y).float().mean().item()


def smooth_loss(logits, y, smoothing=0.0{number % 8 + 1}):
    logp = F.log_softmax(logits, dim=1)
    exact = F.nll_loss(logp, y)
    spread = -logp.mean()
    return (1 - smoothing) * exact + smoothing * spread


def train_one_epoch(args, model, loader, optimizer, device, epoch):
    model.train()
    losses, accuracies = Average(), Average()
    for step, (x, y) in enumerate(loader):
        x, y = x.to(device), y.to(device)
        logits = model(x)
        loss = smooth_loss(logits, y)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), args.clip)
        optimizer.step()
        losses.update(loss.item(), len(x))
        accuracies.update(accuracy(logits, y), len(x))
        if step % args.log_every == 0:
            print(f"epoch {{epoch}} step {{step}} loss {{losses.avg:.4f}} accuracy {{accuracies.avg:.3f}}")
    return losses.avg


@torch.no_grad()
def evaluate(model, loader, device):
    model.eval()
    losses, accuracies = Average(), Average()
    for x, y in loader:
        logits = model(x.to(device))
        losses.update(F.cross_entropy(logits, y.to(device)).item(), len(x))
        accuracies.update(accuracy(logits, y.to(device)), len(x))
    return losses.avg, accuracies.avg


def save_state(path, model, optimizer, epoch, best):
    state = {{"model": model.state_dict(), "optimizer": optimizer.state_dict()}}
    torch.save({{**state, "epoch": epoch, "best": best}}, path)
"""


_OPTIONS = """    parser = argparse.ArgumentParser(description="an experiment")
    parser.add_argument("--data", default="data", help="folder of the rows")
    parser.add_argument("--batch-size", type=int, default=64, help="rows in a batch")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--lr", type=float, default=0.001)
    parser.add_argument("--clip", type=float, default=1.0)
    parser.add_argument("--num-inputs", type=int, default=32)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--num-classes", type=int, default=10)
    parser.add_argument("--log-every", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
"""


def training_script(package: str, kind: str) -> str:
    """Return a script that trains with the modules of its project."""
    head = f"""import argparse

import torch
from torch import nn, optim

from {package}.data import make_loaders, set_seed
from {package}.engine import evaluate, save_state, train_one_epoch
from {package}.nets import Net, build_model


def parse():
{_OPTIONS}    return parser.parse_args()


"""
    bodies = {
        "classify": """def main():
    args = parse()
    set_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loader, held_loader = make_loaders(args)
    model = build_model(args).to(device)
    optimizer = optim.AdamW(model.parameters(), lr=args.lr)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
    best = 0.0
    for epoch in range(args.epochs):
        train_one_epoch(args, model, loader, optimizer, device, epoch)
        loss, acc = evaluate(model, held_loader, device)
        scheduler.step()
        if acc > best:
            best = acc
            save_state("best.pt", model, optimizer, epoch, best)
        print(f"epoch {epoch} held loss {loss:.4f} accuracy {acc:.3f}")
""",
        "adversarial": """def main():
    args = parse()
    loader, _ = make_loaders(args)
    maker = nn.Sequential(nn.Linear(16, args.width), nn.ReLU(), nn.Linear(args.width, args.num_inputs))
    judge = Net(args.num_inputs, args.width, 1, args.depth)
    maker_optimizer = optim.Adam(maker.parameters(), args.lr)
    judge_optimizer = optim.Adam(judge.parameters(), args.lr)
    criterion = nn.BCEWithLogitsLoss()
    for epoch in range(args.epochs):
        for real, _ in loader:
            fake = maker(torch.randn(len(real), 16))
            judge_optimizer.zero_grad()
            judge_loss = criterion(judge(real), torch.ones(len(real), 1))
            judge_loss = judge_loss + criterion(judge(fake.detach()), torch.zeros(len(real), 1))
            judge_loss.backward()
            judge_optimizer.step()
            maker_optimizer.zero_grad()
            maker_loss = criterion(judge(fake), torch.ones(len(real), 1))
            maker_loss.backward()
            maker_optimizer.step()
        print("epoch %d judge %.4f maker %.4f" % (epoch, judge_loss.item(), maker_loss.item()))
""",
        "sequences": """def batches(table, size):
    order = torch.randperm(len(table) - size)
    for start in order:
        yield table[start : start + size, :-1], table[start : start + size, 1:]


def main():
    args = parse()
    set_seed(args.seed)
    table = torch.randint(0, args.num_classes, (1000, 33))
    model = nn.LSTM(33, args.width, args.depth)
    head = nn.Linear(args.width, args.num_classes)
    optimizer = optim.SGD([*model.parameters(), *head.parameters()], lr=args.lr)
    lr = args.lr
    for epoch in range(args.epochs):
        total = 0.0
        for x, y in batches(table, args.batch_size):
            out, _ = model(nn.functional.one_hot(x, 33).float())
            loss = nn.functional.cross_entropy(head(out).flatten(0, 1), y.flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        if epoch > 10:
            lr = lr / 2
            for group in optimizer.param_groups:
                group["lr"] = lr
        print("epoch", epoch, "loss", total)
""",
        "by_class": """class Trainer:
    def __init__(self, args):
        self.args = args
        self.device = torch.device("cpu")
        self.loader, self.held_loader = make_loaders(args)
        self.model = build_model(args)
        self.optimizer = optim.RMSprop(self.model.parameters(), lr=args.lr)
        self.criterion = nn.CrossEntropyLoss()

    def step(self, x, y):
        loss = self.criterion(self.model(x), y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def fit(self):
        for epoch in range(self.args.epochs):
            for x, y in self.loader:
                self.step(x, y)
            print(epoch, evaluate(self.model, self.held_loader, self.device))


def main():
    Trainer(parse()).fit()
""",
    }
    return head + bodies[kind] + '\n\nif __name__ == "__main__":\n    main()\n'


def idle_module(number: int) -> str:
    """Return a module that no training script reaches: helpers, tables, things that were tried."""
    parts = ["import json\nimport math\nimport os\n\nimport numpy as np\n"]
    for k in range(16):
        parts.append(f'''

def summarize_{k}(path, limit={k + number % 5}):
    """Count the entries of a results file and write a table of them."""
    with open(path) as file:
        rows = [json.loads(line) for line in file if line.strip()]
    found = {{}}
    for row in rows[: limit * 100]:
        name = row.get("name", "run") + str({k})
        found.setdefault(name, []).append(row["value"])
    for name, values in sorted(found.items()):
        mean, spread = np.mean(values), np.std(values)
        if math.isnan(mean):
            continue
        print(name, len(values), round(float(mean), 4), round(float(spread), 4))
    return {{name: max(values) for name, values in found.items()}}
''')
    return "".join(parts)


def make_tree(folder: Path, num_lines: int) -> int:
    """Write projects until there are so many lines; return how many there are."""
    total = number = 0
    while total < num_lines:
        project = folder / f"project_{number:03d}"
        package = f"lib{number:03d}"
        texts = {
            f"{package}/__init__.py": "",
            f"{package}/nets.py": model_module(number),
            f"{package}/data.py": data_module(number),
            f"{package}/engine.py": engine_module(number),
            "summaries.py": idle_module(number),
            "older/summaries.py": idle_module(number + 1),
        }
        texts |= {f"{kind}.py": training_script(package, kind) for kind in _KINDS}
        for path, text in texts.items():
            (project / path).parent.mkdir(parents=True, exist_ok=True)
            (project / path).write_text(text, encoding="utf-8")
            total += text.count("\n")
        number += 1
    return total
