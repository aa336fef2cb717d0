"""The verb that searches: `tune`."""

from __future__ import annotations

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
)

verbs = typer.Typer()


@verbs.command(context_settings=PASS_ON)
def tune(
    context: typer.Context,
    project: ProjectOption,
    config: ConfigOption = None,
    research_args: ResearchOption = "",
    plan: Annotated[
        bool, typer.Option("--plan", help="Print the space, the budget and what fits; train nothing.")
    ] = False,
    study: Annotated[
        str, typer.Option("--study", help="Name of the search; by default one is made from the time.")
    ] = "",
    resume: Annotated[
        str,
        typer.Option(
            "--resume", metavar="[STUDY]", help="Go on with this search; without a name, the newest."
        ),
    ] = "",
    confirm: Annotated[
        int, typer.Option("--confirm", min=0, help="Train the winner again with so many other seeds.")
    ] = 0,
    allow_invalid_data: Annotated[
        bool, typer.Option("--allow-invalid-data", help="Though `data validate` found errors in the data.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Search for better settings, as the tuning section of the settings says."""
    import json
    from dataclasses import asdict

    from bessemer.config.settings import of_trials
    from bessemer.data.validation.verdict import admit
    from bessemer.errors import UserError
    from bessemer.reports import relative
    from bessemer.search.command import Job, planned
    from bessemer.search.command import tune as search
    from bessemer.search.confirming import confirm as confirmed_by
    from bessemer.search.outcome import show_confirmed, show_found
    from bessemer.search.screen import plan_lines, show_plan
    from bessemer.training.cluster import disconnect

    if study and resume:
        raise UserError(
            f"--study {study} with --resume",
            expected="one of them",
            todo="--resume NAME goes on with a search",
        )
    console = console_for(json_output)
    chosen = ready(project, console)
    settings = of_trials(load(chosen, context.args, config, research_args).settings)
    if plan:
        job = Job(chosen.entry, settings, chosen.name)
        question, made, nodes = planned(job)
        num, cpus, gpus = len(nodes), sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
        disconnect()
        if json_output:
            space = {name: str(entry) for name, entry in question.space.items()}
            print(json.dumps({"space": space, **plan_lines(question, made, num, cpus, gpus)}))
        else:
            show_plan(console, question, made, num, cpus, gpus)
        return
    admission = admit(chosen.name, settings, [str(chosen.root)], [chosen.package_dir], allow_invalid_data)
    for note in admission.notes:
        console.print(f"note: {note}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    given = given_of(chosen, admission.tags)
    name = None if not resume else "" if resume == NEWEST else resume
    found = search(chosen.entry, settings, **given, console=console, name=study, resume=name)
    confirmed = None
    if confirm:
        job = Job(
            *(chosen.entry, settings, chosen.name, tuple(given["search_path"]), tuple(given["code"])),
            given["tags"],
        )
        confirmed = confirmed_by(job, found, confirm, console)
    # Before the result is shown, so that no late message of Ray's stands in it.
    disconnect()
    if json_output:
        print(json.dumps({**found.facts(), "confirmed": asdict(confirmed) if confirmed else None}))
        return
    show_found(console, chosen.name, found, relative)
    if confirmed is not None:
        show_confirmed(console, confirmed)
