"""What a survey says, as values: `to_json` gives it to other programs, `show` to people.

The JSON is one object. Its keys stay what they are; new ones may come.

- `source`: the path that was given. `kind`: `script`, `notebook` or `folder`.
- `files`: `num_read`, `num_lines`, and `skipped`: of each file that was not read its `path`, the place to
  blame (`where`) and the `reason`.
- `programs`: each script or notebook that does something when it is run, those that train first:
  - `path`, `trains`, `files` (itself and the local modules that it reaches), `num_lines`
  - `roles`: each definition and variable with a role: `file`, `name`, `role`, `kind` (`class`, `function`,
    `variable`, `attribute`), `where`
  - `loops`: `where`, `kind` (`epochs`, `batches`, `steps`, `evaluation`), `over`
  - `options`: `name`, `default` (source text, null if it must be given), `help`, `where`, `by` (`argparse`,
    `click`, `class`, `constant`, `dictionary`)
  - `random`: `seeded_at` (places), `draws`: `what`, `where` (the first place), `count`
  - `data_parallel`: `possible` (null if it is not known), `reason`
  - `imports`: top-level packages that are neither Python's own nor local
  - `runs`: of a notebook its training runs, as `convert --run` counts them
  - `convertible`: true or false; null if conversion was not asked
  - `refused`: why not: `found`, `expected`, `todo`; null where there is nothing to say
  Of a program that cannot train only `path`, `trains`, `files`, `num_lines`, `imports` are told, and that
  it is refused if nothing else trains either.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from bessemer.conversion.survey.roles import Named


@dataclass(frozen=True)
class Skipped:
    """A file that was not read, and why; `where` is the path, with the line or cell if one is to blame."""

    path: str
    where: str
    reason: str


@dataclass(frozen=True)
class Files:
    """The Python files and notebooks of a source."""

    num_read: int
    num_lines: int
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True)
class LoopFound:
    """A loop of a training program."""

    where: str
    kind: str
    over: str


@dataclass(frozen=True)
class OptionFound:
    """Something that a user can set. `default` is source text."""

    name: str
    default: str | None
    help: str
    where: str
    by: str


@dataclass(frozen=True)
class Draw:
    """What draws random numbers, where it does so first, and how often it is written."""

    what: str
    where: str
    count: int


@dataclass(frozen=True)
class Random:
    """Where seeds are set, and what draws random numbers."""

    seeded_at: tuple[str, ...] = ()
    draws: tuple[Draw, ...] = ()


@dataclass(frozen=True)
class DataParallel:
    """Whether workers can share the training; None if that is not known."""

    possible: bool | None = None
    reason: str = ""


@dataclass(frozen=True)
class Refused:
    """Why conversion would refuse a program, in the words of its error."""

    found: str
    expected: str = ""
    todo: str = ""


@dataclass(frozen=True)
class ProgramFound:
    """A script or notebook that does something when it is run."""

    path: str
    trains: bool
    files: tuple[str, ...]
    num_lines: int
    roles: tuple[Named, ...] = ()
    loops: tuple[LoopFound, ...] = ()
    options: tuple[OptionFound, ...] = ()
    random: Random = Random()
    data_parallel: DataParallel = DataParallel()
    imports: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    convertible: bool | None = None
    refused: Refused | None = None


@dataclass(frozen=True)
class Survey:
    """Everything that is said about a source."""

    source: str
    kind: str
    files: Files
    programs: tuple[ProgramFound, ...]

    def to_json(self) -> str:
        """Return the survey as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)
