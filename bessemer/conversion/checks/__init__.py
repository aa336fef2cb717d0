"""What `bessemer check` looks for, one rule a file, each with the examples that are its tests."""

from __future__ import annotations

from bessemer.conversion.checks import counting, kept, stale, tracking, unhooked, unsaveable
from bessemer.conversion.checks.base import Finding, Reading

MODULES = (kept, stale, counting, tracking, unhooked, unsaveable)


def check(reading: Reading) -> list[Finding]:
    """Return everything that is found, in the order of the files."""
    found = [finding for module in MODULES for finding in module.find(reading)]
    return sorted(found, key=lambda x: (_file(x.where), x.line, x.rule, x.name))


def _file(where: str) -> str:
    """Return the file of a place; cells of a notebook are in the order of its lines."""
    return where.rpartition(":")[0].partition("[cell ")[0]
