"""Verbs that look at runs from outside, without disturbing them: `status`, `logs`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from bessemer.cli.common import JsonOption, console_for, sections

verbs = typer.Typer()

_LOOK_EVERY_S = 0.5
AnyProjectOption = Annotated[str, typer.Option("--project", "-p", help="Whose runs; default: all projects.")]
StorageOption = Annotated[
    str, typer.Option("--storage", help="Folder of the runs; default: checkpoint.storage_path.")
]


@verbs.command()
def status(
    project: AnyProjectOption = "",
    storage: StorageOption = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most runs that are shown (count).")] = 10,
    json_output: JsonOption = False,
) -> None:
    """Show how runs stand, the newest first, and what the Ray cluster has."""
    import json

    from bessemer.observation.cluster import ClusterLook
    from bessemer.observation.runs import known_run, run_folders
    from bessemer.observation.showing import as_json, show_cluster, show_runs

    folder, name, address = _where(project, storage)
    look = ClusterLook(address)
    folders = run_folders(folder, name)
    runs = [known_run(owner, run) for owner, run in folders[:limit]]
    num_more = max(0, len(folders) - limit)
    console = console_for(json_output)
    if not json_output:
        # What is known already; the cluster may take its time.
        show_runs(console, folder, runs, num_more, name)
        show_cluster(console, look.seen())
        return
    print(json.dumps(as_json(folder, runs, num_more, look.seen())))


@verbs.command()
def logs(
    run: Annotated[str, typer.Argument(metavar="[RUN]", help="Name of the run; default: the newest.")] = "",
    project: AnyProjectOption = "",
    storage: StorageOption = "",
    rank: Annotated[
        str, typer.Option("--rank", help="Only of this worker, by number, or of the driver.")
    ] = "",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the run ends, or Ctrl-C.")
    ] = False,
    level: Annotated[
        str, typer.Option("--level", help="Least level: DEBUG, INFO, WARNING, ERROR.")
    ] = "DEBUG",
    since: Annotated[
        str, typer.Option("--since", help="A time ago (90s, 10m, 2h, 1d), or a date and time.")
    ] = "",
    json_output: JsonOption = False,
) -> None:
    """Show what driver and workers of a run logged and printed, by time."""
    import time

    from bessemer.errors import UserError, nearest
    from bessemer.observation.lines import DRIVER, LogReader, Wanted, since_of
    from bessemer.observation.runs import find_run_folder, known_run
    from bessemer.observation.showing import LinePrinter
    from bessemer.reports import relative
    from bessemer.training.folders import LOGS_FOLDER

    levels = ("DEBUG", "INFO", "WARNING", "ERROR")
    if level.upper() not in levels:
        expected = nearest(level, levels) or f"one of: {', '.join(levels)}"
        raise UserError(f"--level {level!r} is no level", expected=expected)
    if rank not in ("", DRIVER) and not rank.isdecimal():
        raise UserError(f"--rank {rank!r} is no worker", expected=f"a number from 0, or {DRIVER}")
    wanted = Wanted(rank, level.upper(), since_of(since))
    folder, name, _ = _where(project, storage)
    owner, run_dir = find_run_folder(folder, name, run)
    reader = LogReader(run_dir, wanted)
    printer = LinePrinter(console_for())
    if not follow and not reader.files():
        of = f" of {'the driver' if rank == DRIVER else f'worker {rank}'}" if rank else ""
        raise UserError(
            f"run {run_dir.name} of {owner} has no log{of}",
            expected=f"files such as {relative(run_dir / LOGS_FOLDER)}/driver.jsonl",
            todo="see what else is in that folder; runs of older versions have no such logs",
        )
    try:
        while True:
            is_over = known_run(owner, run_dir).state != "running"
            # Read after it was asked: what was written before the end is not missed.
            for line in reader.new():
                if json_output:
                    print(line.text, flush=follow)
                else:
                    printer.show(line)
            if is_over or not follow:
                break
            time.sleep(_LOOK_EVERY_S)
    except BrokenPipeError:
        # Whoever read has seen enough; nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return
    if reader.num_unreadable:
        console_for(json_output=True).print(
            f"note: {reader.num_unreadable} lines cannot be read", style="yellow", highlight=False
        )


def _where(project: str, storage: str) -> tuple[Path, str, str]:
    """Return the folder of runs, the name of the project, and the address of the cluster by its settings.

    A project that is not here any more is known by its runs.
    """
    from bessemer.config.loading import load_settings
    from bessemer.config.project import find_project
    from bessemer.config.settings import Settings
    from bessemer.errors import ProjectError, StorageError

    settings, name = load_settings(Settings, [], os.environ).settings, project
    if project:
        try:
            found = find_project(project, Path.cwd())
            settings, name = sections(found, [], None), found.name
        except ProjectError:
            if not (Path(storage or settings.checkpoint.storage_path).expanduser() / project).is_dir():
                raise
    path = storage or settings.checkpoint.storage_path
    if "://" in path:
        raise StorageError(f"{path} is a URL", expected="a folder of runs", todo="give one with --storage")
    return Path(path).expanduser().absolute(), name, settings.cluster.address
