"""Verbs that prove something by running it: `verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bessemer.cli.common import JsonOption, ResearchOption, console_for, load, ready

verbs = typer.Typer()


@verbs.command()
def verify(
    project: Annotated[str, typer.Argument(help="A converted project: its folder or its name.")],
    research_args: ResearchOption = "",
    cwd: Annotated[
        Path | None, typer.Option("--cwd", help="Where the research code runs (a copy of it is used).")
    ] = None,
    steps: Annotated[
        int, typer.Option("--steps", min=0, help="End each run after so many steps; 0: at its own end.")
    ] = 0,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Workers to compare with one; 1: do not.")
    ] = 2,
    limit_s: Annotated[
        float, typer.Option("--limit-s", min=1, help="Longest time of one run (seconds).")
    ] = 600.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of all random generators, at the start.")] = 0,
    json_output: JsonOption = False,
) -> None:
    """Run research code and project and compare every step; exit status 0 only if they are equal."""
    import json

    from bessemer.proof.command import Wish, save_report, to_json
    from bessemer.proof.command import verify as perform
    from bessemer.proof.table import announced, show_verdict
    from bessemer.reports import relative

    console = console_for(json_output)
    chosen = ready(project, console)
    settings = load(chosen, [], None, research_args, cwd).settings
    wish = Wish(research_args, cwd, steps, workers, limit_s, seed)
    with announced(console) as tell:
        verdict = perform(chosen, settings, wish, tell)
    report = save_report(chosen, wish, verdict)
    if json_output:
        print(json.dumps(to_json(verdict)))
    else:
        show_verdict(console, chosen.name, verdict, Path(relative(report)))
    if verdict.verdict != "equal":
        raise typer.Exit(1)
