"""Preparing 20,000 JPEGs: Bessemer's shards against a plain pool of processes, on the same cores.

    python benchmarks/preprocess.py [--pairs 5] [--out preprocess.json]

Both decode each picture, make it smaller and leave it as an array of uint8 with its label in Parquet files.
The pool is what one would write in an afternoon: `multiprocessing.Pool.imap` over ranges of files, one file
for each. Bessemer does the same on Ray Data, with hashes, statistics and a manifest. The cluster of two
CPUs is started before; its start is printed on its own, and is not part of the figures.
"""

from __future__ import annotations

import functools
import multiprocessing
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pairs import Goal, interleaved, judge, write
from PIL import Image
from torch.utils.data import Dataset
from ways import options

from bessemer.config.settings import Cluster
from bessemer.data.prepared.making import Work, prepare
from bessemer.data.prepared.manifest import Origin
from bessemer.training.cluster import connect, disconnect

NUM_PICTURES = 20_000
SIDE = 224
SMALL = 64
PROCESSES = 2
NUM_CLASSES = 10


def write_pictures(folder: Path, count: int) -> list[str]:
    """Write JPEGs that are neither flat nor noise."""
    generator = np.random.default_rng(0)
    paths = []
    for number in range(count):
        coarse = generator.integers(0, 256, (10, 10, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        path = folder / f"{number:06d}.jpg"
        picture.save(path, quality=85)
        paths.append(str(path))
    return paths


def decoded(path: str) -> np.ndarray[Any, Any]:
    """Return a picture, uint8 [64, 64, 3]."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB").resize((SMALL, SMALL), Image.Resampling.BILINEAR))


class Pictures(Dataset[Any]):
    """Pictures and labels."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        return decoded(self.paths[index]), index % NUM_CLASSES


def bessemer_way(paths: list[str], folder: Path) -> None:
    """Prepare them with Bessemer."""
    origin = Origin(inputs="pictures", code="decoded", parameters="")
    work = Work("pictures", Pictures(paths), None, origin, ("all",), None, 32 * 2**20)
    made = prepare(work, folder, lambda: None)
    assert made.manifest.splits["all"].num_rows == len(paths)


def _write_range(start: int, paths: list[str], folder: str, rows: int) -> int:
    chosen = range(start, min(start + rows, len(paths)))
    images = [decoded(paths[place]).tobytes() for place in chosen]
    table = pa.table(
        {"image": pa.array(images, pa.large_binary()), "label": [x % NUM_CLASSES for x in chosen]}
    )
    pq.write_table(table, Path(folder) / f"{start:06d}.parquet")
    return len(chosen)


def pool_way(paths: list[str], folder: Path) -> None:
    """Prepare them with a pool."""
    folder.mkdir()
    rows = 32 * 2**20 // (SMALL * SMALL * 3)
    write = functools.partial(_write_range, paths=paths, folder=str(folder), rows=rows)
    with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
        total = sum(pool.imap_unordered(write, range(0, len(paths), rows)))
    assert total == len(paths)


def timed(way: Callable[[list[str], Path], None], paths: list[str], scratch: Path) -> Mapping[str, float]:
    """Return the pictures that a way prepares in a second."""
    folder = scratch / "prepared"
    begun = time.perf_counter()
    way(paths, folder)
    took_s = time.perf_counter() - begun
    shutil.rmtree(folder)
    return {"pictures_per_s": len(paths) / took_s}


def main() -> int:
    """Measure; exit status 1 if the goal is missed."""
    chosen = options(__doc__, "preprocess", ()).parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        (scratch / "pictures").mkdir()
        paths = write_pictures(scratch / "pictures", NUM_PICTURES)
        begun = time.perf_counter()
        connect(Cluster(address="local"))
        started_s = time.perf_counter() - begun
        print(f"Ray started in {started_s:.1f} s")
        ways = {
            "bessemer": functools.partial(timed, bessemer_way, paths, scratch),
            "pool": functools.partial(timed, pool_way, paths, scratch),
        }
        figures = interleaved(ways, chosen.pairs)
        disconnect()
    goal = Goal("bessemer.pictures_per_s", "pool.pictures_per_s", 0.9, at_least=True)
    write(chosen.out, {**judge("preprocess", figures, {"throughput": goal}), "ray_start_s": started_s})
    ratio = statistics.median(figures[goal.ours]) / statistics.median(figures[goal.theirs])
    return 0 if goal.reached(ratio) else 1


if __name__ == "__main__":
    sys.exit(main())
