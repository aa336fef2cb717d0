"""Let a trained model write weather reports."""

import argparse
import os

import torch

from data import CHARS, decode, encode
from model import CharLM


def main():
    parser = argparse.ArgumentParser(description="Write weather reports")
    parser.add_argument("--out-dir", default="charlm-out", help="folder of the checkpoint")
    parser.add_argument("--start", default="\n", help="what to go on with")
    parser.add_argument("--length", type=int, default=300, help="characters to write")
    parser.add_argument("--temperature", type=float, default=0.8, help="lower is more careful")
    parser.add_argument("--seed", type=int, default=1, help="random seed")
    opts = parser.parse_args()

    torch.manual_seed(opts.seed)
    checkpoint = torch.load(os.path.join(opts.out_dir, "ckpt.pt"), map_location="cpu")
    model = CharLM(len(CHARS), *checkpoint["sizes"], dropout=0.0)
    model.load_state_dict(checkpoint["model"])
    model.eval()
    x = torch.tensor([encode(opts.start)])
    print(decode(model.generate(x, opts.length, opts.temperature)[0].tolist()))


if __name__ == "__main__":
    main()
