"""Train a small character model on weather reports.

    python train.py --max-iters 500
    python train.py --resume          # go on from the best checkpoint so far
    python sample.py                  # let it write
"""

import argparse
import math
import os
import time

import numpy as np
import torch

from data import CHARS, get_batch, prepare
from model import CharLM


def get_lr(it, args):
    """Warm up in a line, then go down along a cosine to a tenth."""
    if it < args.warmup_iters:
        return args.lr * (it + 1) / args.warmup_iters
    done = (it - args.warmup_iters) / max(1, args.max_iters - args.warmup_iters)
    return args.min_lr + 0.5 * (args.lr - args.min_lr) * (1 + math.cos(math.pi * min(1.0, done)))


@torch.no_grad()
def estimate_loss(model, data, args, device):
    model.eval()
    losses = torch.zeros(args.eval_iters)
    for k in range(args.eval_iters):
        x, y = get_batch(data, args.batch_size, args.block_size, device)
        _, loss = model(x, y)
        losses[k] = loss.item()
    model.train()
    return losses.mean().item()


def main():
    parser = argparse.ArgumentParser(description="Character model of weather reports")
    parser.add_argument("--data-dir", default="charlm-data", help="folder of train.bin and val.bin")
    parser.add_argument("--out-dir", default="charlm-out", help="folder of the checkpoint")
    parser.add_argument("--max-iters", type=int, default=300, help="optimizer steps")
    parser.add_argument("--batch-size", type=int, default=16, help="pieces of text in a micro batch")
    parser.add_argument("--accumulation", type=int, default=2, help="micro batches in a step")
    parser.add_argument("--block-size", type=int, default=32, help="characters in a piece of text")
    parser.add_argument("--width", type=int, default=48, help="size of the embedding")
    parser.add_argument("--depth", type=int, default=2, help="blocks")
    parser.add_argument("--heads", type=int, default=4, help="heads of attention")
    parser.add_argument("--dropout", type=float, default=0.1, help="dropout in every block")
    parser.add_argument("--lr", type=float, default=3e-3, help="highest learning rate")
    parser.add_argument("--min-lr", type=float, default=3e-4, help="learning rate at the end")
    parser.add_argument("--warmup-iters", type=int, default=30, help="steps of warm-up")
    parser.add_argument("--weight-decay", type=float, default=0.1, help="weight decay of AdamW")
    parser.add_argument("--grad-clip", type=float, default=1.0, help="largest norm of gradients; 0: any")
    parser.add_argument("--eval-interval", type=int, default=50, help="steps between two evaluations")
    parser.add_argument("--eval-iters", type=int, default=10, help="micro batches of an evaluation")
    parser.add_argument("--log-interval", type=int, default=10, help="steps between two lines of log")
    parser.add_argument("--seed", type=int, default=1337, help="random seed")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in out-dir")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    os.makedirs(args.out_dir, exist_ok=True)
    path = os.path.join(args.out_dir, "ckpt.pt")

    prepare(args.data_dir)
    train_data = np.memmap(os.path.join(args.data_dir, "train.bin"), dtype=np.uint8, mode="r")
    val_data = np.memmap(os.path.join(args.data_dir, "val.bin"), dtype=np.uint8, mode="r")

    model = CharLM(len(CHARS), args.block_size, args.width, args.depth, args.heads, args.dropout)
    model.to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=args.lr, betas=(0.9, 0.99), weight_decay=args.weight_decay
    )
    iter_num = 0
    best_val_loss = 1e9

    if args.resume:
        print(f"going on from {path}")
        checkpoint = torch.load(path, map_location=device)
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        iter_num = checkpoint["iter_num"]
        best_val_loss = checkpoint["best_val_loss"]

    x, y = get_batch(train_data, args.batch_size, args.block_size, device)  # the very first batch
    t0 = time.time()
    while True:
        lr = get_lr(iter_num, args)
        for group in optimizer.param_groups:
            group["lr"] = lr

        if iter_num % args.eval_interval == 0:
            train_loss = estimate_loss(model, train_data, args, device)
            val_loss = estimate_loss(model, val_data, args, device)
            print(f"step {iter_num}: train loss {train_loss:.4f}, val loss {val_loss:.4f}")
            if val_loss < best_val_loss:
                best_val_loss = val_loss
                checkpoint = {
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "iter_num": iter_num,
                    "best_val_loss": best_val_loss,
                    "sizes": (args.block_size, args.width, args.depth, args.heads),
                }
                torch.save(checkpoint, path)
        if iter_num >= args.max_iters:
            break

        step_loss = 0.0
        for _ in range(args.accumulation):
            _, loss = model(x, y)
            loss = loss / args.accumulation  # so that the micro batches make up a mean
            loss.backward()
            step_loss += loss.item()
            x, y = get_batch(train_data, args.batch_size, args.block_size, device)
        if args.grad_clip > 0:
            torch.nn.utils.clip_grad_norm_(model.parameters(), args.grad_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

        if iter_num % args.log_interval == 0:
            print(f"iter {iter_num}: loss {step_loss:.4f}, lr {lr:.6f}")
        iter_num += 1

    print(f"best val loss {best_val_loss:.4f}, {time.time() - t0:.0f} s")


if __name__ == "__main__":
    main()
