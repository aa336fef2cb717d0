"""Verbs that train: `train`, `drill`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bessemer.cli.common import (
    NEWEST,
    PASS_ON,
    ConfigOption,
    JsonOption,
    ProjectOption,
    ResearchOption,
    console_for,
    given_of,
    load,
    ready,
    sections,
)

verbs = typer.Typer()


@verbs.command(context_settings=PASS_ON)
def train(
    context: typer.Context,
    project: ProjectOption,
    config: ConfigOption = None,
    research_args: ResearchOption = "",
    resume: Annotated[
        str,
        typer.Option("--resume", metavar="[RUN]", help="Go on with this run; without a name, the newest."),
    ] = "",
    or_begin: Annotated[
        bool, typer.Option("--or-begin", help="With --resume RUN: begin that run if there is none.")
    ] = False,
    allow_drift: Annotated[
        bool, typer.Option("--allow-drift", help="With --resume: though code, settings or data have changed.")
    ] = False,
    if_changed: Annotated[
        bool,
        typer.Option(
            "--if-changed", help="Do nothing if a complete run is of the same code, settings and data."
        ),
    ] = False,
    allow_invalid_data: Annotated[
        bool, typer.Option("--allow-invalid-data", help="Though `data validate` found errors in the data.")
    ] = False,
) -> None:
    """Train a project; settings follow as --name value."""
    train_run(
        context,
        project,
        config,
        research_args,
        resume,
        or_begin,
        allow_drift,
        if_changed,
        allow_invalid_data,
    )


def train_run(
    context: typer.Context,
    project: str,
    config: Path | None = None,
    research_args: str = "",
    resume: str = "",
    or_begin: bool = False,
    allow_drift: bool = False,
    if_changed: bool = False,
    allow_invalid_data: bool = False,
) -> str:
    """Do what `train` does; return the name of the run, also of one that was complete already."""
    from bessemer.data.validation.verdict import admit
    from bessemer.errors import ProjectError, UserError
    from bessemer.judgement.runs import find_run, settings_file_of
    from bessemer.reports import show_outcome
    from bessemer.training.cluster import disconnect
    from bessemer.training.storage import is_complete
    from bessemer.training.trainer import Resume, fit

    console = console_for()
    chosen = ready(project, console)
    resumed, arguments = None, context.args
    if or_begin and resume in ("", NEWEST):
        raise UserError("--or-begin without the name of a run", expected="--resume RUN --or-begin")
    if resume:
        name = "" if resume == NEWEST else resume
        where = sections(chosen, arguments, config)
        try:
            run_dir = find_run(where, chosen.name, name, needs_checkpoint=False)
        except ProjectError:
            if not or_begin:
                raise
            resume, arguments = "", [*arguments, f"--tracking.run-name={name}"]
    if resume:
        if is_complete(run_dir):
            console.print(f"run {run_dir.name} is complete: there is nothing to go on with", highlight=False)
            return run_dir.name
        resumed, config = Resume(run_dir, allow_drift), config or settings_file_of(run_dir)
    loaded = load(chosen, arguments, config, research_args)
    admission = admit(
        chosen.name, loaded.settings, [str(chosen.root)], [chosen.package_dir], allow_invalid_data
    )
    given = given_of(chosen, admission.tags)
    if if_changed and not resume:
        from bessemer.training.unchanged import unchanged_run

        done = unchanged_run(chosen.entry, loaded.settings, **given)
        if done is not None:
            console.print(
                f"unchanged: run {done.name} is complete, and of the same code, settings and data",
                highlight=False,
                soft_wrap=True,
            )
            return done.name
    for note in admission.notes:
        console.print(f"note: {note}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    outcome = fit(chosen.entry, loaded.settings, **given, console=console, resume=resumed)
    # Before the result is shown, so that no late message of Ray's stands in it.
    disconnect()
    show_outcome(console, chosen.name, outcome)
    return outcome.name


@verbs.command(context_settings=PASS_ON)
def drill(
    context: typer.Context,
    project: ProjectOption,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Name of a disturbance; may be repeated.")
    ] = None,
    num_workers: Annotated[
        int, typer.Option("--num-workers", help="Workers; 0 for as many as the project says.")
    ] = 0,
    every_steps: Annotated[
        int, typer.Option("--every-steps", help="Steps between checkpoints; 0 for what the project says.")
    ] = 7,
    seed: Annotated[int, typer.Option("--seed", help="Chooses the moments of the strikes.")] = 0,
    limit_s: Annotated[float, typer.Option("--limit-s", help="Longest time of one run (seconds).")] = 600.0,
    soak: Annotated[int, typer.Option("--soak", help="Only kill, so many times, and log that.")] = 0,
    soak_log: Annotated[Path, typer.Option("--soak-log", help="Markdown file of soaks.")] = Path(
        "docs/soak.md"
    ),
    json_output: JsonOption = False,
) -> None:
    """Disturb a project's training in many ways; exit status 1 if any number changes by it."""
    import json
    from dataclasses import asdict

    from bessemer.drill.command import chosen_disturbances, prepared, sigterm_exits, tidy
    from bessemer.drill.command import drill as perform
    from bessemer.drill.soak import soak as perform_soak
    from bessemer.drill.table import announced, show_verdicts

    console = console_for(json_output)
    disturbances = chosen_disturbances(only or [])
    chosen = ready(project, console)
    arguments = [*context.args, *(["--scaling.num-workers", str(num_workers)] if num_workers else [])]
    settings = load(chosen, arguments, None).settings
    if settings.scaling.is_elastic:
        # To the last bit, numbers are compared at one number of workers only.
        arguments += ["--scaling.num-workers", str(settings.scaling.min_workers)]
        settings = load(chosen, arguments, None).settings
    tell = announced(console, quiet=json_output)
    made = prepared(project, chosen.name, settings, arguments, every_steps, limit_s)
    with sigterm_exits(), made as (course, head):
        if soak:
            verdicts = perform_soak(course, head, soak, seed, tell, soak_log)
        else:
            verdicts = perform(course, head, disturbances, seed, tell)
        kept = None if tidy(course, verdicts) else course.storage
    if json_output:
        print(json.dumps([asdict(verdict) for verdict in verdicts]))
    else:
        show_verdicts(console, verdicts, kept)
    if any(verdict.is_bad for verdict in verdicts):
        raise typer.Exit(1)
