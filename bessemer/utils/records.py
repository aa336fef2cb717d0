"""What a worker has its driver write to MLflow: small frozen values that travel between processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Begun:
    """An attempt begins to write.

    Attributes:
        resumed: whether an earlier attempt may have written the same points.
    """

    resumed: bool


@dataclass(frozen=True)
class Points:
    """Values of metrics.

    Attributes:
        values: (name, value, milliseconds since 1970, step) each.
    """

    values: tuple[tuple[str, float, int, int], ...]


@dataclass(frozen=True)
class KeptFile:
    """A file to keep with the run.

    Attributes:
        path: where every node finds it; of a run at a URL, its name in the run.
        folder: of the run's artifacts, or None for their root.
    """

    path: Path
    folder: str | None


@dataclass(frozen=True)
class Tags:
    """Tags of the run.

    Attributes:
        values: by name.
    """

    values: dict[str, str]


@dataclass(frozen=True)
class Barrier:
    """Somebody waits until everything before this is written.

    Attributes:
        name: by which that is told.
    """

    name: str


Record = Begun | Points | KeptFile | Tags | Barrier
