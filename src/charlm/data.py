"""Weather reports of made-up harbours, one a line: the text that the character model learns.

The text is made from a few rules and a seed, so there is nothing to download. It is written to
two files of character codes, which training maps into memory.
"""

import os
import random

import numpy as np
import torch

CHARS = "\n ',-.:0123456789abcdefghijklmnopqrstuvwxyz"

HARBOURS = ("aldby", "bramsund", "corvenna", "drostholm", "elmouth", "fennick", "garrow bay", "hulvik")
SKIES = ("clear", "overcast", "hazy", "a few clouds", "low cloud", "broken cloud")
FALLS = ("rain", "drizzle", "sleet", "hail", "light snow")
WINDS = ("north", "north-east", "east", "south-east", "south", "south-west", "west", "north-west")
SEAS = ("calm", "smooth", "slight", "moderate", "rough", "very rough")


def report(rng):
    """One line; what the sea is like depends on the wind, so there is something to learn."""
    force = rng.randint(0, 9)
    words = f"{rng.choice(HARBOURS)}: {rng.choice(SKIES)}"
    if rng.random() < 0.4:
        words += f", {rng.choice(FALLS)} {rng.choice(['at times', 'later', 'until noon', 'in the night'])}"
    wind = "no wind" if force == 0 else f"wind {rng.choice(WINDS)} {force}"
    return f"{words}, {wind}, sea {SEAS[min(force // 2 + rng.randint(0, 1), 5)]}.\n"


def make_text(lines, seed):
    rng = random.Random(seed)
    return "".join(report(rng) for _ in range(lines))


def encode(text):
    return [CHARS.index(c) for c in text]


def decode(codes):
    return "".join(CHARS[i] for i in codes)


def prepare(folder, lines=2000, seed=11):
    """Write train.bin and val.bin (the last tenth of the lines), if they are not there yet."""
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "val.bin")
    if os.path.exists(path):
        return
    codes = np.array(encode(make_text(lines, seed)), dtype=np.uint8)
    split = len(codes) * 9 // 10
    codes[:split].tofile(os.path.join(folder, "train.bin"))
    codes[split:].tofile(path)


def get_batch(data, batch_size, block_size, device):
    """Random pieces of the text, and the same pieces one character later."""
    starts = torch.randint(len(data) - block_size, (batch_size,))
    x = torch.stack([torch.from_numpy(data[i : i + block_size].astype(np.int64)) for i in starts])
    y = torch.stack([torch.from_numpy(data[i + 1 : i + 1 + block_size].astype(np.int64)) for i in starts])
    return x.to(device), y.to(device)
