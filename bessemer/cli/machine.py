"""Verbs about settings and this machine: `config`, `doctor`, `mlflow`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from bessemer.cli.common import PASS_ON, ConfigOption, JsonOption, ProjectOption, console_for, load, ready

verbs = typer.Typer()


@verbs.command(context_settings=PASS_ON)
def config(
    context: typer.Context,
    project: ProjectOption,
    config: ConfigOption = None,
    json_output: JsonOption = False,
) -> None:
    """Show every setting: its value, where that came from, and what it means."""
    import json

    from rich.table import Table

    from bessemer.config.loading import fields_of, value_at

    chosen = ready(project, console_for(json_output))
    loaded = load(chosen, context.args, config)
    rows = [
        (name, value_at(loaded.settings, name), loaded.origins[name], field.description or "")
        for name, field in fields_of(type(loaded.settings))
    ]
    if json_output:
        print(json.dumps({n: {"value": v, "from": o, "meaning": d} for n, v, o, d in rows}, default=str))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("setting", "value", "from", "meaning"):
        table.add_column(column, overflow="fold", no_wrap=column == "setting")
    for name, value, origin, meaning in rows:
        style = None if origin == "default" else "bold"
        table.add_row(name, "" if value is None else str(value), origin, meaning, style=style)
    console_for().print(table)


@verbs.command(context_settings=PASS_ON)
def doctor(
    context: typer.Context,
    project: Annotated[str, typer.Option("--project", "-p", help="Whose settings to check for.")] = "",
    json_output: JsonOption = False,
) -> None:
    """Check that training would work here; exit status 1 if not."""
    import json
    from dataclasses import asdict

    from bessemer.config.loading import load_settings
    from bessemer.config.settings import Settings
    from bessemer.doctor import examine

    console = console_for(json_output)
    if project:
        settings = load(ready(project, console), context.args, None).settings
    else:
        settings = load_settings(Settings, context.args, os.environ).settings
    styles = {"ok": "green", "warning": "yellow", "error": "red"}
    checks = []
    for check in examine(settings):
        checks.append(check)
        if not json_output:
            mark = f"[{styles[check.level]}]{check.level:<8}[/]"
            console.print(f"{mark}{check.name:<15}", end="", highlight=False)
            console.print(check.found, markup=False, highlight=False, soft_wrap=True)
            if check.todo:
                console.print(f"{'':<23}to do: {check.todo}", markup=False, highlight=False)
    if json_output:
        print(json.dumps([asdict(check) for check in checks]))
    if any(check.level == "error" for check in checks):
        raise typer.Exit(1)


@verbs.command()
def mlflow(
    port: Annotated[int, typer.Option(help="Port of the page.")] = 5000,
    storage: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs"),
) -> None:
    """Open the MLflow page on the store that runs are recorded in; ends with Ctrl-C."""
    from bessemer.tracking import check_page, links_to_experiments, serve_page, tracking_uri

    uri, console = tracking_uri("", storage), console_for()
    check_page(uri, port)
    console.print(f"MLflow at http://127.0.0.1:{port} on {uri}", highlight=False, soft_wrap=True)
    links = links_to_experiments(uri, port)
    width = max(map(len, links), default=0)
    for name, link in links.items():
        console.print(f"  runs of {name:<{width}}  {link}", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(serve_page(uri, storage, port))
