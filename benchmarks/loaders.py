"""Samples a second that reach a training process: Bessemer's loader against torch's `DataLoader`.

    python benchmarks/loaders.py [--pairs 5] [--only jpeg] [--out loaders.json]

One training process takes batches and does nothing with them, for three data sets:

- cheap: 20,000 uint8 images of 28x28 in memory, made a normalised float tensor each; batches of 64.
- jpeg: 4,000 JPEG files of 200x200, decoded, cropped and flipped at random with PIL; batches of 64.
- tokens: a memory map of 2 GB of uint16 tokens, read in windows of 1,024 in random order as nanoGPT
  does, each with its targets; batches of 32. Its file is read once before each way, so that it is in
  the page cache for all.

torch's `DataLoader` with 0, 1 and 2 worker processes (kept from epoch to epoch), the best of them,
against Bessemer with its default settings (`data.source = "ray"`) and one worker. Two figures:

- start: samples a second from the first batch on, over a fixed number of samples. What each way still
  starts after its first batch counts: Bessemer makes its first batches in the training process while
  its stream starts.
- steady: the same over the second half of these samples; `longest_wait_s` is the longest time between
  two batches in it.
"""

from __future__ import annotations

import io
import itertools
import sys
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pairs import Goal, interleaved, judge, write
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from ways import leave, measured, options, settings, with_bessemer

_JPEG_SIZE, _CROP = 200, 176
_NUM_JPEGS = 4000
_NUM_TOKENS = 1_000_000_000
_WINDOW = 1024
_BATCH = {"cheap": 64, "jpeg": 64, "tokens": 32}
# Enough for 10 s and more in the fastest way.
_NUM_SAMPLES = {"cheap": 640_000, "jpeg": 16_000, "tokens": 320_000}
GOALS = {"cheap": 0.9, "jpeg": 1.0, "tokens": 1.0}

Pair = tuple[torch.Tensor, torch.Tensor]


class Cheap(Dataset[tuple[torch.Tensor, int]]):
    """Images in memory: (1, 28, 28) float32, normalised, and a label."""

    def __init__(self) -> None:
        generator = np.random.default_rng(0)
        self.images = generator.integers(0, 256, (20_000, 28, 28), dtype=np.uint8)
        self.labels = generator.integers(0, 10, 20_000).tolist()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = torch.from_numpy(self.images[index]).unsqueeze(0).float().div(255)
        return (image - 0.1307) / 0.3081, self.labels[index]


class Jpegs(Dataset[tuple[torch.Tensor, int]]):
    """Images on disk: (3, 176, 176) float32, augmented, and a label."""

    def __init__(self, folder: Path) -> None:
        self.files = sorted(folder.glob("*.jpg"))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image: Image.Image = Image.open(self.files[index]).convert("RGB")
        left, top = torch.randint(0, _JPEG_SIZE - _CROP + 1, (2,)).tolist()
        image = image.crop((left, top, left + _CROP, top + _CROP))
        if torch.rand(()) < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(np.array(image))
        return pixels.permute(2, 0, 1).float().div(255), index % 10


class Tokens(Dataset[Pair]):
    """Windows of a file of tokens: int64 (1024,) each, and the same moved by one."""

    def __init__(self, folder: Path) -> None:
        self.tokens = np.memmap(folder / "tokens.bin", dtype=np.uint16, mode="r")

    def __len__(self) -> int:
        return (len(self.tokens) - 1) // _WINDOW

    def __getitem__(self, index: int) -> Pair:
        start = index * _WINDOW
        x = torch.from_numpy(self.tokens[start : start + _WINDOW].astype(np.int64))
        y = torch.from_numpy(self.tokens[start + 1 : start + 1 + _WINDOW].astype(np.int64))
        return x, y


def dataset(kind: str, files: Path) -> Dataset[Any]:
    """Return a data set over the files that `write_files` wrote."""
    return Cheap() if kind == "cheap" else {"jpeg": Jpegs, "tokens": Tokens}[kind](files)


def write_files(kind: str, files: Path) -> None:
    """Write what the data set reads."""
    generator = np.random.default_rng(0)
    if kind == "jpeg":
        for number in range(_NUM_JPEGS):
            coarse = generator.integers(0, 256, (25, 25, 3), dtype=np.uint8)
            image = Image.fromarray(coarse).resize((_JPEG_SIZE, _JPEG_SIZE), Image.Resampling.BICUBIC)
            encoded = io.BytesIO()
            image.save(encoded, "JPEG", quality=90)
            (files / f"{number:05d}.jpg").write_bytes(encoded.getvalue())
    elif kind == "tokens":
        block = generator.integers(0, 50257, 10_000_000, dtype=np.uint16)
        with open(files / "tokens.bin", "wb") as file:
            for _ in range(_NUM_TOKENS // len(block)):
                file.write(block.tobytes())


def read_files(files: Path) -> None:
    """Bring all files into the page cache."""
    for file in files.iterdir():
        with open(file, "rb") as opened:
            while opened.read(1 << 24):
                pass


def take(kind: str, epochs: Iterable[Any], loader: Any) -> None:
    """Take batches until enough samples came, and leave the figures."""
    total, seen, times, counts = _NUM_SAMPLES[kind], 0, list[float](), list[int]()
    begun = time.perf_counter()
    for _ in epochs:
        for x, _y in loader:
            times.append(time.perf_counter())
            counts.append(len(x))
            seen += len(x)
            if seen >= total:
                break
        if seen >= total:
            break
    half = len(times) // 2
    leave(
        {
            "start_per_s": sum(counts[1:]) / (times[-1] - times[0]),
            "steady_per_s": sum(counts[half + 1 :]) / (times[-1] - times[half]),
            "first_batch_s": times[0] - begun,
            "longest_wait_s": max(after - before for before, after in itertools.pairwise(times[half:])),
        }
    )


def plain(kind: str, files: Path, num_workers: int) -> None:
    """The research script."""
    torch.manual_seed(0)
    loader = DataLoader(
        dataset(kind, files),
        _BATCH[kind],
        shuffle=True,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
    )
    take(kind, range(1000), loader)


def program(run: Any, given: Any) -> None:
    """The same with Bessemer."""
    loader = run.loader(dataset(given.kind, Path(given.files)), _BATCH[given.kind], shuffle=True)
    take(given.kind, run.epochs(1000), loader)


def bessemer(kind: str, files: Path) -> None:
    """Take batches with Bessemer."""
    from bessemer import Settings

    class Given(Settings):
        kind: str
        files: str

    given = Given.model_validate({**settings().model_dump(), "kind": kind, "files": str(files)})
    with_bessemer(program, given)


def main() -> int:
    """Measure all, or one way in this process."""
    ways = ["torch0", "torch1", "torch2", "bessemer"]
    parser = options(__doc__, Path(__file__).stem, ways)
    parser.add_argument("--only", choices=sorted(GOALS), help="data set")
    parser.add_argument("--files", type=Path, help="where the data set's files are kept")
    arguments = parser.parse_args()
    if arguments.way == "bessemer":
        bessemer(arguments.only, arguments.files)
        return 0
    if arguments.way:
        plain(arguments.only, arguments.files, int(arguments.way[-1]))
        return 0
    results: dict[str, Any] = {}
    for kind, bound in GOALS.items():
        if arguments.only in (None, kind):
            with tempfile.TemporaryDirectory(prefix="bessemer-loaders-") as name:
                results[kind] = compare(kind, bound, Path(name), ways, arguments.pairs)
            write(arguments.out, results)
    return 0


def compare(kind: str, bound: float, files: Path, ways: list[str], num_pairs: int) -> dict[str, object]:
    """Measure one data set in all ways; judge against the best of torch's."""
    write_files(kind, files)

    def one(way: str) -> dict[str, float]:
        read_files(files)
        return measured(__file__, way, "--only", kind, "--files", str(files))

    figures = interleaved({way: partial(one, way) for way in ways}, num_pairs)
    goals = {}
    for name in ("start_per_s", "steady_per_s"):
        # The best of the medians: what somebody who tried all three would keep.
        best = max(ways[:3], key=lambda way: float(np.median(figures[f"{way}.{name}"])))
        title = f"samples/s, {name.removesuffix('_per_s')}, against {best}"
        goals[title] = Goal(f"bessemer.{name}", f"{best}.{name}", bound, at_least=True)
    return judge(kind, figures, goals)


if __name__ == "__main__":
    sys.exit(main())
