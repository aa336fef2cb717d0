"""Memory and time of validating ten million rows, as `bessemer data validate` does.

    python benchmarks/validation.py [--rows 10000000] [--out validation.json]

The rows are Parquet files of two splits with a float, an integer label and a text; one in a thousand of the
test rows is a training row, and a few come twice, so that duplicates and leaks are really looked for.
Measured in a process of its own, from its first line to the written report: the most memory that it held
(MLflow, torch and Arrow are in it) and its time. The bound is on memory.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from textwrap import dedent

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pairs import run_once, write

BOUND_BYTES = 10**9
_FILE_ROWS = 1_000_000
_TEST_SHARE = 10
PROJECT = "rows"


def make_rows(folder: Path, num_rows: int) -> dict[str, int]:
    """Write two splits of rows.

    Returns:
        Duplicates and leaks that are in them (counts).
    """
    num_test = num_rows // _TEST_SHARE
    num_train = num_rows - num_test
    num_leaks, num_duplicates = max(1, num_test // 1000), 5
    for split, first, count in (("train", 0, num_train), ("test", num_train, num_test)):
        (folder / split).mkdir(parents=True)
        for number, start in enumerate(range(0, count, _FILE_ROWS)):
            ids = np.arange(first + start, first + min(start + _FILE_ROWS, count))
            if split == "test" and start == 0:
                ids[:num_leaks] = np.arange(num_leaks) * 7
            if split == "train" and start == 0:
                ids[-num_duplicates:] = np.arange(num_duplicates)
            table = pa.table(
                {
                    "x": np.sin(ids.astype(np.float64)),
                    "text": pa.array([f"sample number {number}" for number in ids.tolist()]),
                    "label": ids % 10,
                }
            )
            # One row group, as careless writers make them.
            pq.write_table(table, folder / split / f"{number}.parquet", row_group_size=_FILE_ROWS)
    return {"leaks": num_leaks, "duplicates": num_duplicates}


def make_project(folder: Path) -> None:
    """Write a project whose sources are the rows, and whose program reads them."""
    package = folder / "projects" / PROJECT / "rows_project"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "train.py").write_text(
        dedent(
            """
            from bessemer import Run, Settings


            def train(run: Run, settings: Settings) -> None:
                run.loader(run.source("train"), batch_size=100, shuffle=True)
                for _ in run.epochs(1):
                    pass
            """
        )
    )
    root = package.parent
    (root / "pyproject.toml").write_text(
        f'[tool.bessemer]\nname = "{PROJECT}"\nentry = "rows_project.train:train"\n'
        'settings = "bessemer:Settings"\n'
    )
    sources = "".join(
        f'[data.sources.{split}]\nformat = "parquet"\npath = "data/{split}"\n' for split in ("train", "test")
    )
    (root / "settings.toml").write_text(sources)


def measured(folder: Path) -> dict[str, object]:
    """Validate in a process of its own.

    Returns:
        Its peak memory, its time, and what it found.
    """
    code = dedent(
        f"""
        import json, resource, sys, time
        began = time.perf_counter()
        from bessemer.cli import entry
        status = entry(["data", "validate", "--project", "{PROJECT}", "--json"])
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({{"peak_bytes": peak, "duration_s": time.perf_counter() - began, "status": status}}))
        """
    )
    answer = run_once([sys.executable, "-c", code], folder)
    report, _, figures = answer.rstrip().rpartition("\n")
    return {**json.loads(figures), "findings": json.loads(report)["findings"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--out", type=Path, default=Path("validation.json"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        made = make_rows(Path(folder) / "data", given.rows)
        make_project(Path(folder))
        print(f"{given.rows:,} rows made in {time.perf_counter() - began:.0f} s", flush=True)
        figures = measured(Path(folder))
    for finding in figures["findings"]:  # type: ignore[attr-defined]
        print(f"{finding['severity']} {finding['check']}: {finding['dataset']}: {finding['text']}")
    texts = " ".join(finding["text"].replace(",", "") for finding in figures["findings"])  # type: ignore[attr-defined]
    found_all = f"{made['leaks']} samples are in train too" in texts
    found_all = found_all and f"{made['duplicates']} samples are there more than once" in texts
    peak, bound = float(figures["peak_bytes"]), BOUND_BYTES  # type: ignore[arg-type]
    reached = peak < bound and found_all
    rows_per_s = given.rows / float(figures["duration_s"])  # type: ignore[arg-type]
    print(
        f"validation of {given.rows:,} rows: {peak / 1e9:.3f} GB at most (goal: below {bound / 1e9:g}), "
        f"{figures['duration_s']:.1f} s, {rows_per_s:,.0f} rows/s {'reached' if reached else 'MISSED'}"
    )
    write(given.out, {"rows": given.rows, "bound_bytes": bound, "reached": reached, **figures})
    if not reached:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
