"""Memory and time of validating ten million rows, as `bessemer data validate` does.

    python benchmarks/validation.py [--rows 10000000] [--pairs 1] [--out validation.json]

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
from dataclasses import asdict, dataclass
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


@dataclass(frozen=True)
class Measured:
    """One validation.

    Attributes:
        peak_bytes: most memory that its process held (bytes).
        duration_s: from its first line to the written report (seconds).
        findings: what it found.
    """

    peak_bytes: float
    duration_s: float
    findings: list[str]


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


def measured(folder: Path) -> Measured:
    """Validate in a process of its own."""
    code = dedent(
        f"""
        import json, resource, sys, time
        began = time.perf_counter()
        from bessemer.cli import entry
        status = entry(["data", "validate", "--project", "{PROJECT}", "--json"])
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps([peak, time.perf_counter() - began]))
        """
    )
    answer = run_once([sys.executable, "-c", code], folder)
    report, _, figures = answer.rstrip().rpartition("\n")
    texts = [finding["text"] for finding in json.loads(report)["findings"]]
    peak_bytes, duration_s = json.loads(figures)
    return Measured(peak_bytes, duration_s, texts)


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory and time of validating many rows.")
    parser.add_argument("--pairs", type=int, default=1, help="times that it is measured")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--out", type=Path, default=Path("validation.json"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = make_rows(Path(folder) / "data", given.rows)
        make_project(Path(folder))
        rounds = [measured(Path(folder)) for _ in range(given.pairs)]
    worst = max(rounds, key=lambda each: each.peak_bytes)
    wanted = (
        f"{made['leaks']:,} samples are in train too",
        f"{made['duplicates']} samples are there more than once",
    )
    missed = [text for text in wanted if not any(found.startswith(text) for found in worst.findings)]
    reached = worst.peak_bytes < BOUND_BYTES and not missed
    print("\n".join([*worst.findings, *(f"not found: {text}" for text in missed)]))
    print(
        f"validation of {given.rows:,} rows: {worst.peak_bytes / 1e9:.3f} GB "
        f"(goal: below {BOUND_BYTES / 1e9:g}), {worst.duration_s:.1f} s, "
        f"{given.rows / worst.duration_s:,.0f} rows/s {'reached' if reached else 'MISSED'}"
    )
    measurements = [asdict(each) for each in rounds]
    write(given.out, {"rows": given.rows, "bound": BOUND_BYTES, "reached": reached, "rounds": measurements})
    if not reached:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
