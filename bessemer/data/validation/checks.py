"""The named checks: how bad what each finds is, and what it looks at. The page in docs/ is made of this."""

from __future__ import annotations

from dataclasses import dataclass

from bessemer.data.validation.findings import Finding, Severity


@dataclass(frozen=True)
class Check:
    """One named check.

    Attributes:
        name: what findings and settings call it.
        severity: errors make training wrong or impossible, warnings may.
        looks_at: what it finds, for people.
    """

    name: str
    severity: Severity
    looks_at: str

    def found(self, dataset: str, text: str, column: str = "") -> Finding:
        """Return a finding of this check."""
        return Finding(severity=self.severity, check=self.name, dataset=dataset, text=text, column=column)


MANIFEST = Check("manifest", "error", "the manifest of prepared data cannot be read or is damaged")
SHARDS = Check("shards", "error", "a shard that the manifest names is missing or cannot be read")
EXTRA_SHARDS = Check(
    "extra-shards", "warning", "a Parquet file beside the shards that the manifest does not name"
)
HASH = Check("hash", "error", "the SHA-256 of a shard is not what the manifest says")
COUNTS = Check("counts", "error", "a shard has another number of rows than the manifest says")
SCHEMA = Check("schema", "error", "columns, dtypes or sizes of tensors are not those of the manifest")
READABLE = Check("readable", "error", "samples or files that cannot be read, by name")
EMPTY = Check("empty", "error", "a data set or a split without samples")
STRUCTURE = Check("structure", "warning", "samples that differ in their parts, dtypes or shapes")
MISSING = Check("missing", "error", "more missing values in a column than `checks.max_missing_fraction`")
FINITE = Check("finite", "error", "samples with NaN or infinity")
CONSTANT = Check("constant", "warning", "samples whose numbers are all the same")
CONSTANT_COLUMN = Check("constant-column", "warning", "columns that have one value in all samples")
RANGE = Check("range", "error", "values outside `checks.ranges`")
LABELS = Check("labels", "error", "labels outside 0 to `checks.num_classes`, or that are no class")
BALANCE = Check(
    "balance", "warning", "classes with less than `checks.min_class_fraction` of the training samples"
)
CLASSES = Check("classes", "warning", "classes that are judged but never trained")
DUPLICATES = Check("duplicates", "warning", "samples that come more than once in a split")
CONFLICT = Check("conflict", "warning", "equal inputs with different labels in a split")
LEAK = Check("leak", "error", "inputs of another split that are in the training split too")
NEAR_LEAK = Check(
    "near-leak", "error", "images and texts of another split that are almost like one that is trained on"
)
DRIFT = Check(
    "drift", "warning", "columns that are spread otherwise than in the reference (`checks.max_drift`)"
)
COLUMNS = Check("columns", "error", "a column that `[checks]` names and no data have")

CATALOGUE = (
    MANIFEST, SHARDS, EXTRA_SHARDS, HASH, COUNTS, SCHEMA, READABLE, EMPTY, STRUCTURE, MISSING, FINITE,
    CONSTANT, CONSTANT_COLUMN, RANGE, LABELS, BALANCE, CLASSES, DUPLICATES, CONFLICT, LEAK, NEAR_LEAK,
    DRIFT, COLUMNS,
)  # fmt: skip


def catalogue_table() -> str:
    """Return all checks as a Markdown table."""
    lines = ["| check | finds | severity |", "|---|---|---|"]
    lines += [f"| `{check.name}` | {check.looks_at} | {check.severity} |" for check in CATALOGUE]
    return "\n".join(lines) + "\n"
