"""Shuffled Parquet through a loader against torch's `DataLoader` over the same rows in memory, in process.

    python benchmarks/sources.py [--pairs 5] [--out sources.json]

Both give batches of 256 rows of 16 float32 numbers and a label. The data set in memory is what one would
write by hand, an item a row; the source reads and decodes its file in each pass, in windows of an eighth
of it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pairs import Goal, interleaved, judge, write
from torch.utils.data import DataLoader, Dataset
from ways import options

from bessemer.config.data_settings import Data
from bessemer.data.datasets import Fetched
from bessemer.data.iteration import LoaderPass
from bessemer.data.loaders import Loader
from bessemer.data.sources.parquet import ParquetSource
from bessemer.data.windows import WindowedPlan
from bessemer.utils.collectives import Group

NUM_ROWS = 200_000
WIDTH = 16
BATCH_SIZE = 256
ROWS_PER_GROUP = 5_000


class InMemory(Dataset[dict[str, Any]]):
    """The same rows, as a program of research has them."""

    def __init__(self, x: np.ndarray[Any, Any], label: np.ndarray[Any, Any]) -> None:
        self.x, self.label = x, label

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, place: int) -> dict[str, Any]:
        return {"x": self.x[place], "label": self.label[place]}


class Silent:
    """Listens to a loader and does nothing."""

    def pass_started(self, entered: LoaderPass[Any]) -> bool:
        return True

    def between_batches(self, entered: LoaderPass[Any]) -> None:
        pass

    def batch_ready(self, entered: LoaderPass[Any], fetched: Fetched, waited_s: float) -> None:
        pass

    def pass_ended(self, entered: LoaderPass[Any]) -> None:
        pass

    def pass_abandoned(self, serial: int) -> None:
        pass


def timed(batches: Iterable[dict[str, torch.Tensor]]) -> Mapping[str, float]:
    """Return the rows that a pass gives in a second."""
    begun = time.perf_counter()
    count = sum(len(batch["label"]) for batch in batches)
    assert count == NUM_ROWS
    return {"rows_per_s": count / (time.perf_counter() - begun)}


def main() -> int:
    """Measure; exit status 1 if the goal is missed."""
    chosen = options(__doc__, "sources", ()).parse_args()
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    x = generator.random((NUM_ROWS, WIDTH), dtype=np.float32)
    label = generator.integers(0, 10, NUM_ROWS)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "rows.parquet"
        columns = {"x": pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), WIDTH), "label": label}
        pq.write_table(pa.table(columns), path, row_group_size=ROWS_PER_GROUP)
        source = ParquetSource(str(path))
        source.window_bytes = len(source.group_sizes) // 8 * source.group_bytes
        loader: Loader[dict[str, torch.Tensor]] = Loader(
            {"dataset": source, "batch_size": BATCH_SIZE, "shuffle": True},
            shard=True,
            number=0,
            settings=Data(source="inline"),
            group=Group(),
            observer=Silent(),
            open_source=None,
        )
        torch_loader = DataLoader(InMemory(x, label), batch_size=BATCH_SIZE, shuffle=True)
        ways = {"source": lambda: timed(loader), "memory": lambda: timed(torch_loader)}
        figures = interleaved(ways, chosen.pairs)
        assert isinstance(loader.plan, WindowedPlan)
    goal = Goal("source.rows_per_s", "memory.rows_per_s", 1.0, at_least=True)
    results = judge("sources", figures, {"shuffled Parquet": goal})
    write(chosen.out, results)
    return 0 if all(found["reached"] for found in results["goals"].values()) else 1  # type: ignore[attr-defined]


if __name__ == "__main__":
    sys.exit(main())
