"""How long `bessemer analyze` takes for a tree of 100,000 lines, and how much CPU a conversion takes.

    python benchmarks/analysis.py [--lines 100000] [--tree DIR] [--cores 2] [--out analysis.json]

The tree is written for it, the same each time: projects of about 1,000 lines as research code has them, each
with four training scripts that share modules (models, data, training and evaluation), and modules that
nothing reaches. `--tree` measures a folder that is there. Analysis runs in a process of its own, on so many
cores; conversion of each program in src/ too, from the start of Python to its end. The bounds are 60 s of
wall time for the tree and 5 s of CPU time for each program.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from generated_tree import make_tree
from pairs import write

ROOT = Path(__file__).parents[1]
MAX_TREE_S = 60.0
MAX_CONVERSION_CPU_S = 5.0


def timed(command: list[str], cores: int) -> tuple[float, float, str]:
    """Run a command on so many cores; return wall and CPU seconds, and what it printed."""
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, allowed),
    )
    wall_s = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall_s, cpu_s, done.stdout


def measure_tree(tree: Path, cores: int) -> dict[str, object]:
    """Analyze a folder."""
    bessemer = [sys.executable, "-m", "bessemer"]
    wall_s, cpu_s, printed = timed([*bessemer, "analyze", str(tree), "--json"], cores)
    found = json.loads(printed)
    programs = found["programs"]
    result = {
        "num_lines": found["files"]["num_lines"],
        "num_files": found["files"]["num_read"],
        "num_training": sum(x["trains"] for x in programs),
        "num_reached_lines": sum(x["num_lines"] for x in programs if x["trains"]),
        "num_judged": sum(x["convertible"] is not None for x in programs),
        "num_roles": sum(len(x["roles"]) for x in programs),
        "wall_s": round(wall_s, 2),
        "cpu_s": round(cpu_s, 2),
    }
    for name, value in result.items():
        print(f"{name:<20}{value:>12,}")
    return result


def measure_conversions(cores: int) -> dict[str, float]:
    """Convert each program in src/."""
    found = {}
    for source in sorted((ROOT / "src").iterdir()):
        if source.name.startswith((".", "_")):
            continue
        with tempfile.TemporaryDirectory(prefix="bessemer-conversion-") as folder:
            out = Path(folder) / "project"
            command = [sys.executable, "-m", "bessemer", "convert", str(source), "--out", str(out)]
            _, cpu_s, _ = timed(command, cores)
        found[source.name] = round(cpu_s, 2)
        print(f"convert {source.name:<20}{cpu_s:>8.2f} s of CPU")
    return found


def main() -> int:
    """Measure; the exit status is 1 if a bound is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", type=int, default=100_000, help="lines of the tree that is written")
    parser.add_argument("--tree", type=Path, help="measure this folder instead")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=1, help="how often each is measured")
    parser.add_argument("--out", type=Path, help="write the results as JSON")
    given = parser.parse_args()
    trees, conversions = [], []
    for _ in range(given.pairs):
        if given.tree is not None:
            trees.append(measure_tree(given.tree, given.cores))
        else:
            with tempfile.TemporaryDirectory(prefix="bessemer-analysis-") as folder:
                make_tree(Path(folder), given.lines)
                trees.append(measure_tree(Path(folder), given.cores))
        conversions.append(measure_conversions(given.cores))
    if given.out is not None:
        results = {"analysis": {"cores": given.cores, "trees": trees, "conversions": conversions}}
        write(given.out, results)
    slow = [x for x in trees if float(str(x["wall_s"])) > MAX_TREE_S]
    costly = [x for x in conversions if max(x.values()) > MAX_CONVERSION_CPU_S]
    return int(bool(slow or costly))


if __name__ == "__main__":
    sys.exit(main())
