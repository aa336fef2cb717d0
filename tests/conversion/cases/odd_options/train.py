"""Options of every kind, and a training loop that nobody looks at."""

import argparse
import os
from pathlib import Path

import torch

parser = argparse.ArgumentParser(description="Options of every kind")
parser.add_argument("folder", type=Path, help="where things are")
parser.add_argument("--json", default="x.json", help="a name that the settings have already")
parser.add_argument("--steps", type=int, required=True, help="how many; 100%% of them")
parser.add_argument("--scale", default=2.0, help="no type of its own")
parser.add_argument("--flag", type=bool, default=False)
parser.add_argument("--no-bias", dest="bias", action="store_false", help="leave out the bias")
parser.add_argument("--sizes", type=int, nargs="*", help="any number of sizes")
parser.add_argument("--level", type=int, choices=[1, 2, 3], default=2)
parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads to use")
parser.add_argument("--seed", type=int, default=None, help="none: chosen by chance")
args = parser.parse_args()


def main():
    print(args.json, args.folder)
    model = torch.nn.Linear(1, 1, bias=args.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.scale)
    for _ in range(args.steps):
        optimizer.zero_grad()
        model(torch.ones(args.level, 1)).sum().backward()
        optimizer.step()


if __name__ == "__main__":
    main()
