"""Runs the research code as its author does, in a copy of its folder, with the tape in its process.

What is run is modernised, as what is converted is: old forms that fail today cannot be compared with any.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bessemer.config.project import Project
from bessemer.conversion import chosen_run, sources
from bessemer.conversion.normal.entries import pick_entry, reached
from bessemer.errors import ProjectError, UserError
from bessemer.proof.copies import Ground, beside
from bessemer.proof.processes import Ended, run_bounded
from bessemer.proof.tape import configure, environment_of
from bessemer.proof.tapes import Tape, read_tapes

_NOTEBOOK = ".ipynb"
COPY_FOLDER = "copy"
"""Where the copies are made, in the folder that a verification works in."""


@dataclass(frozen=True)
class Original:
    """The research code of a project, ready to be run.

    Attributes:
        script: the file that is run, absolute, in `ground`.
        ground: what is copied for each run.
        arguments: its own command line.
        run: which training run of a notebook is meant, from 1; None for all of them.
        root: what the paths of `files` are relative to, absolute.
        files: the script and the local files that it imports, modernised.
    """

    script: Path
    ground: Ground
    arguments: tuple[str, ...]
    run: int | None = None
    root: Path = Path()
    files: tuple[sources.Source, ...] = ()

    @property
    def modernised(self) -> tuple[str, ...]:
        """What is run in place of old forms, a line each: place, old form and new form."""
        return tuple(
            f"{file.where(x.line)}: {_in_a_line(x.code)} -> {_in_a_line(x.after) or 'nothing'}"
            for file in self.files
            for x in file.modern.changes
        )


@dataclass(frozen=True)
class Taped:
    """A run with its tapes.

    Attributes:
        ended: how it ended.
        tapes: of the processes that trained.
    """

    ended: Ended
    tapes: tuple[Tape, ...]

    @property
    def is_cut(self) -> bool:
        """Whether it was ended because it had taken the steps that were asked for."""
        return any(tape.is_cut for tape in self.tapes)


def file_to_run(project: Project) -> Path:
    """Return the file that is the research code of a project.

    Raises:
        ProjectError: the project was not converted from research code that is still there.
    """
    source = project.source
    if source is None:
        raise ProjectError(
            f"project {project.name} was not converted: there is nothing to compare it with",
            expected="source = ... under [tool.bessemer] in its pyproject.toml",
        )
    file = source / project.script if source.is_dir() else source
    if not file.is_file():
        raise ProjectError(
            f"the research code of project {project.name} is not at {file}",
            expected="the script that it was converted from",
            todo="put it back, or convert it again from where it is now",
        )
    return file.resolve()


def original_of(project: Project, arguments: Sequence[str], folder: Path | None) -> Original:
    """Find out what has to be run, and what has to be copied for it.

    Args:
        project: a converted project.
        arguments: the research code's own command line.
        folder: where it runs; by default the folder that it is in.

    Raises:
        ProjectError: its research code is not there.
        SourceError: it cannot be read.
        UserError: `folder` is none.
    """
    script = file_to_run(project)
    if folder is not None and not folder.is_dir():
        raise UserError(f"--cwd {folder} is no folder", expected="the folder that the research code runs in")
    run = chosen_run(project.root)
    home, code = script.parent, [script]
    if project.source is not None and project.source.is_dir():
        home = project.source.resolve()
        code = sorted({script, *home.rglob("*.py")})
    place = folder.resolve() if folder is not None else home
    programs = [text for file in code for text in _programs(file, run)]
    others = [*beside(place, programs, arguments), *([] if home.is_relative_to(place) else [home])]
    read = sources.read(project.source or script, run)
    files = reached(read, pick_entry(read, project.script if len(read.files) > 1 else ""))
    root = read.root.resolve()
    return Original(script, Ground(place, tuple(others)), tuple(arguments), run, root, files)


def _programs(file: Path, run: int | None) -> Iterator[bytes]:
    """Yield the Python source in a file: its own, or that of a notebook's cells."""
    if file.suffix == _NOTEBOOK:
        yield from (sources.as_script(x).encode() for x in sources.read(file, run).files)
    elif file.is_file():
        yield file.read_bytes()


def _in_a_line(code: str) -> str:
    return " ".join(code.split())


def modernise(original: Original, area: Path) -> None:
    """Write the modernised files over those of a copy; what has no old forms is not touched."""
    for file in original.files:
        if file.modern.changes and file.notes is None:
            target = original.ground.place_of(original.root / file.path, area)
            if target.is_file():  # what a notebook writes is written by `startable`
                target.write_text(sources.as_script(file), encoding="utf-8", newline="")


def startable(script: Path, run: int | None) -> Path:
    """Return what Python can start: a script itself; of a notebook, its cells as a script beside it.

    Args:
        script: the file, in a folder that may be written.
        run: which training run of a notebook is meant, from 1; None for all of them.

    Raises:
        SourceError: the notebook cannot be read.
    """
    if script.suffix != _NOTEBOOK:
        return script
    program, *modules = sources.read(script, run).files
    for module in modules:  # what the notebook writes by %%writefile
        (script.parent / module.path).write_text(sources.as_script(module), encoding="utf-8")
    cells = script.with_name(f"{script.stem}_cells.py")
    cells.write_text(sources.as_script(program), encoding="utf-8")
    return cells


def environment_for(base: Mapping[str, str]) -> dict[str, str]:
    """Return variables under which a program is as deterministic as its surroundings allow."""
    environment = {name: value for name, value in base.items() if name != "TQDM_DISABLE"}
    return environment | {
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "MPLBACKEND": "Agg",
        "CUDA_VISIBLE_DEVICES": "",
        "WANDB_MODE": "disabled",
    }


def run_original(
    original: Original, work: Path, name: str, log_file: Path, *, seed: int, steps: int, limit_s: float
) -> Taped:
    """Run the research code once, modernised: old forms that fail today are what they were.

    Args:
        original: what is run.
        work: folder for the copy, always the same one, and the tapes.
        name: of the run.
        log_file: what it prints.
        seed: of all generators before it starts.
        steps: after which it is ended (count); 0: it runs to its end.
        limit_s: how long it may take (seconds).
    """
    area, tapes = work / COPY_FOLDER, work / f"tapes-{name}"
    folder = original.ground.copied(area)
    configure(tapes, steps=steps)
    modernise(original, area)
    script = startable(original.ground.place_of(original.script, area), original.run)
    command = [sys.executable, str(script), *original.arguments]
    environment = environment_of(tapes, environment_for(os.environ), seed)
    ended = run_bounded(command, folder, environment, log_file, limit_s)
    return Taped(ended, tuple(read_tapes(tapes)))
