"""Verbs of the data: `data download`, `data preprocess`, `data validate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bessemer.cli.common import PASS_ON, ConfigOption, ProjectOption, console_for, load, ready

verbs = typer.Typer(name="data", help="Prepare and check the data of a project.", no_args_is_help=True)


@verbs.command(context_settings=PASS_ON)
def download(
    context: typer.Context,
    project: ProjectOption,
    config: ConfigOption = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Fetch nothing; exit status 1 and a list if a file is missing.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Fetch again what is there; it is kept until the new file is whole."),
    ] = False,
) -> None:
    """Download the files of the settings (data.files), and what data/preprocessing.py fetches."""
    from bessemer.data.downloads.command import run_download
    from bessemer.data.preprocessing import stage_of

    console = console_for()
    chosen = ready(project, console)
    loaded = load(chosen, context.args, config)
    run_download(console, chosen, loaded.settings, stage_of(chosen, "download"), offline, force)


@verbs.command(context_settings=PASS_ON)
def preprocess(context: typer.Context, project: ProjectOption, config: ConfigOption = None) -> None:
    """Prepare data once: as [preparation] and data.cache say, and the project's own preprocess(settings)."""
    from bessemer.data.preprocessing import stage_of
    from bessemer.reports import preparing, show_prepared
    from bessemer.training.cluster import disconnect
    from bessemer.training.preparation import prepare_project

    console = console_for()
    chosen = ready(project, console)
    loaded = load(chosen, context.args, config)
    own = stage_of(chosen, "preprocess")
    if own is not None:
        own(loaded.settings)
    with preparing(console) as progress:
        prepared = prepare_project(chosen.entry, loaded.settings, [str(chosen.root)], progress)
    disconnect()
    show_prepared(console, chosen.name, prepared, has_own=own is not None)


@verbs.command(context_settings=PASS_ON)
def validate(
    context: typer.Context,
    project: ProjectOption,
    config: ConfigOption = None,
    max_samples: Annotated[int, typer.Option(help="Most samples looked at in a data set.")] = 10_000,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
) -> None:
    """Check the data that a project trains and judges on; exit status 1 on errors."""
    from bessemer.reports import show_data
    from bessemer.training.inspection import validate_data

    console = console_for()
    chosen = ready(project, console)
    loaded = load(chosen, context.args, config)
    reports, between = validate_data(chosen.entry, loaded.settings, [str(chosen.root)], max_samples)
    show_data(console, reports, between)
    findings = [finding for report in reports for finding in report.findings] + between
    if any(strict or finding.severity == "error" for finding in findings):
        raise typer.Exit(1)


def _stage(context: typer.Context, project: str, config: Path | None, stage: Any) -> None:
    from bessemer.data.preprocessing import stage_of

    console = console_for()
    chosen = ready(project, console)
    loaded = load(chosen, context.args, config)
    function = stage_of(chosen, stage)
    if function is None:
        console.print(
            f"nothing to {stage}: {chosen.package_dir.name}/data/preprocessing.py of project "
            f"{chosen.name} defines no {stage}(settings)",
            highlight=False,
            soft_wrap=True,
        )
        return
    function(loaded.settings)
    console.print(f"{stage} of {chosen.name} is done", highlight=False)
