"""How many roles of the labelled programs the analysis finds, and how many that it names are right.

    python benchmarks/roles.py [--out roles.json]

The programs and their labels are in tests/conversion/roles; a third of them is held out from tuning the
rules. The bounds are a precision of 0.90 and a recall of 0.97 over all programs.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from pairs import write

from conversion.role_scores import by_role, outcomes, programs, score, table

MIN_PRECISION = 0.90
MIN_RECALL = 0.97


def main() -> int:
    """Print the tables; the exit status is 1 if a bound is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="write the results as JSON")
    given = parser.parse_args()
    groups = {"all": None, "tuned on": False, "held out": True}
    results = {}
    for name, held_out in groups.items():
        found = outcomes(programs(held_out))
        total = score(found)
        print(f"== {name}: {len(programs(held_out))} programs")
        print(table(found))
        results[name] = {
            "precision": total.precision,
            "recall": total.recall,
            "roles": {role: asdict(x) for role, x in by_role(found).items()},
        }
    if given.out is not None:
        write(given.out, {"roles": results})
    total = score(outcomes(programs()))
    return int(total.precision < MIN_PRECISION or total.recall < MIN_RECALL)


if __name__ == "__main__":
    sys.exit(main())
