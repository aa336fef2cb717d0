"""Makes the readings: two files, several row groups each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sensors.settings import Settings


def download(settings: Settings) -> None:
    """Write what a user would download: 1,000 rows of 8 readings and whether the machine was faulty."""
    random = np.random.default_rng(0)
    folder = Path(settings.data.folder) / "sensors"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("a", "b"):
        readings = random.normal(size=(500, 8)).astype(np.float32)
        faulty = (readings[:, :3].sum(axis=1) > 1).astype(np.int64)
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(readings.reshape(-1)), 8)
        pq.write_table(
            pa.table({"readings": vectors, "faulty": faulty}),
            folder / f"{name}.parquet",
            row_group_size=100,
        )
