"""Verbs of the data: `data download`, `data preprocess`, `data validate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bessemer.cli.common import PASS_ON, ConfigOption, JsonOption, ProjectOption, console_for, load, ready

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
    max_samples: Annotated[
        int, typer.Option(min=1, help="Most samples looked at in a data set of the program.")
    ] = 10_000,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    manifest: Annotated[
        Path | None, typer.Option("--manifest", help="Folder of prepared data that alone is looked at.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option("--reference", help="Earlier prepared data, to find drift against.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Write the HTML report here as well.")
    ] = None,
    if_changed: Annotated[
        bool, typer.Option("--if-changed", help="Do nothing if data, code and checks are as they were.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Check the data that a project trains and judges on; exit status 1 on errors."""
    from bessemer.data.validation.table import show_report
    from bessemer.training.validation import Wish, as_json, report_page, unchanged, validate_project

    console = console_for(json_output)
    chosen = ready(project, console)
    settings = load(chosen, context.args, config).settings
    earlier = Path(settings.checks.reference) if settings.checks.reference else None
    wish = Wish(max_samples, manifest, reference or earlier, report)
    verdict = unchanged(chosen, settings, wish) if if_changed else None
    if verdict is not None:
        console.print(f"unchanged since validation found {verdict.text}", highlight=False, soft_wrap=True)
        if json_output:
            print(verdict.model_dump_json(indent=1))
        bad = verdict.num_errors + (verdict.num_warnings if strict else 0)
    else:
        with console.status("looking at data") as status:
            found = validate_project(chosen, settings, wish, status.update)
        if json_output:
            print(as_json(found), end="")
        else:
            show_report(console, found)
            console.print(f"report  {report_page(settings)}", highlight=False, soft_wrap=True)
        bad = found.num_errors + (found.num_warnings if strict else 0)
    if bad:
        raise typer.Exit(1)
