"""Verbs that judge: `evaluate`, `register`, `promote`, `models`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bessemer.cli.common import PASS_ON, JsonOption, ProjectOption, console_for, load, ready, sections

if TYPE_CHECKING:
    from bessemer.config.project import Project
    from bessemer.config.settings import Settings

verbs = typer.Typer()

RunOption = Annotated[str, typer.Option("--run", help="Name of the run; default: the newest.")]
CheckpointOption = Annotated[
    str, typer.Option("--checkpoint", help="best, last, or the step of a checkpoint.")
]
UnchangedOption = Annotated[
    bool, typer.Option("--if-changed", help="Do nothing if it was done for the same checkpoint and data.")
]


@verbs.command(context_settings=PASS_ON)
def evaluate(
    context: typer.Context,
    project: ProjectOption,
    run: RunOption = "",
    checkpoint: CheckpointOption = "best",
    split: Annotated[
        str,
        typer.Option(
            "--split",
            help="Data to judge by: train, a loader of the program by name or number, or a source; "
            "default: what the program judges itself on.",
        ),
    ] = "",
    model: Annotated[
        str,
        typer.Option(
            "--model", metavar="NAME[@ALIAS|/VERSION]", help="Judge the weights of a registered model."
        ),
    ] = "",
    compare: Annotated[
        tuple[str, str],
        typer.Option("--compare", metavar="RUN_A RUN_B", help="Compare two runs on the same samples."),
    ] = ("", ""),
    if_changed: UnchangedOption = False,
    json_output: JsonOption = False,
) -> None:
    """Judge a checkpoint on the project's own evaluation data, or on others."""
    from bessemer.judgement.evaluation import Request
    from bessemer.judgement.evaluation import evaluate as judge
    from bessemer.judgement.runs import find_run
    from bessemer.judgement.showing import as_json, say, show_evaluation
    from bessemer.training.cluster import disconnect

    console = console_for(json_output)
    chosen = ready(project, console)
    where = sections(chosen, context.args, None)
    if all(compare):
        _compare(chosen, context.args, compare, checkpoint, split, json_output)
        return
    if model:
        from bessemer.judgement.registered import as_request

        run, request = as_request(where, chosen.name, model, run, split, if_changed)
    else:
        request = Request(checkpoint, split, if_changed=if_changed)
    try:
        run_dir = find_run(where, chosen.name, run)
        settings = settings_of(chosen, context.args, run_dir)
        if not json_output:
            say(console, f"judging run {run_dir.name} of {chosen.name}")
        found = judge(chosen, settings, run_dir, request)
    finally:
        if request.weights is not None:
            request.weights.unlink(missing_ok=True)
    # Before the result is shown, so that no late message of Ray's stands in it.
    disconnect()
    if json_output:
        print(json.dumps(as_json(found)))
    else:
        show_evaluation(console, found)


def settings_of(project: Project, arguments: list[str], run_dir: Path) -> Settings:
    """Load the settings that a run was trained with; how it is judged is as the project says now."""
    from bessemer.judgement.runs import settings_file_of

    trained = load(project, arguments, settings_file_of(run_dir)).settings
    now = sections(project, arguments, None)
    sources = {**trained.data.sources, **now.data.sources}
    data = trained.data.model_copy(update={"sources": sources})
    return trained.model_copy(update={"evaluation": now.evaluation, "registry": now.registry, "data": data})


def _compare(
    project: Project,
    arguments: list[str],
    names: tuple[str, str],
    checkpoint: str,
    split: str,
    json_output: bool,
) -> None:
    from bessemer.judgement.comparison import compare, show_comparisons
    from bessemer.judgement.evaluation import Request, evaluate
    from bessemer.judgement.runs import find_run
    from bessemer.judgement.showing import say
    from bessemer.training.cluster import disconnect

    console = console_for(json_output)
    where = sections(project, arguments, None)
    runs = [find_run(where, project.name, name) for name in names]
    found = []
    for run_dir in runs:
        if not json_output:
            say(console, f"judging run {run_dir.name} of {project.name}, unless that is known")
        settings = settings_of(project, arguments, run_dir)
        found.append(evaluate(project, settings, run_dir, Request(checkpoint, split, if_changed=True)))
    disconnect()
    comparisons = compare(found[0], found[1], where.evaluation, where.data.seed)
    if json_output:
        print(json.dumps([each.model_dump(mode="json") for each in comparisons]))
    else:
        show_comparisons(console, comparisons)


@verbs.command(context_settings=PASS_ON)
def register(
    context: typer.Context,
    project: ProjectOption,
    run: RunOption = "",
    checkpoint: CheckpointOption = "best",
    if_changed: UnchangedOption = False,
    json_output: JsonOption = False,
) -> None:
    """Register a checkpoint as a version of the project's model, with a card; it becomes the challenger."""
    from bessemer.judgement.registration import register as perform
    from bessemer.judgement.runs import find_run
    from bessemer.judgement.showing_models import registered_as_json, show_registered

    console = console_for(json_output)
    chosen = ready(project, console)
    run_dir = find_run(sections(chosen, context.args, None), chosen.name, run)
    made = perform(chosen, settings_of(chosen, context.args, run_dir), run_dir, checkpoint, if_changed)
    if json_output:
        print(json.dumps(registered_as_json(made)))
    else:
        show_registered(console, chosen.name, made)


@verbs.command(context_settings=PASS_ON)
def promote(
    context: typer.Context,
    project: ProjectOption,
    version: Annotated[int, typer.Option("--version", min=0, help="Of the model; 0: the challenger.")] = 0,
    to: Annotated[str, typer.Option("--to", help="The place that it gets.")] = "champion",
    force: Annotated[
        str, typer.Option("--force", metavar="REASON", help="Promote though the gate does not hold.")
    ] = "",
    json_output: JsonOption = False,
) -> None:
    """Make a version of the project's model the champion, if the gate holds; exit status 1 if not."""
    from bessemer.judgement.promotion import promote as perform
    from bessemer.judgement.registration import model_name
    from bessemer.judgement.showing_models import promotion_as_json, show_promotion

    console = console_for(json_output)
    chosen = ready(project, console)
    settings = sections(chosen, context.args, None)
    done = perform(_store(settings), model_name(chosen, settings), settings, version, to, force)
    if json_output:
        print(json.dumps(promotion_as_json(done)))
    else:
        show_promotion(console, done)
    if not done.done:
        raise typer.Exit(1)


@verbs.command(context_settings=PASS_ON)
def models(context: typer.Context, project: ProjectOption, json_output: JsonOption = False) -> None:
    """List the registered versions of the project's model."""
    from bessemer.judgement.registration import model_name
    from bessemer.judgement.showing_models import models_as_json, show_models
    from bessemer.tracking import versions

    console = console_for(json_output)
    chosen = ready(project, console)
    settings = sections(chosen, context.args, None)
    known = versions(_store(settings), name := model_name(chosen, settings))
    metric = settings.registry.metric or settings.checkpoint.best_metric
    if json_output:
        print(json.dumps(models_as_json(known, metric, settings.registry.split)))
    else:
        show_models(console, name, known, metric, settings.registry.split)


def _store(settings: Settings) -> str:
    from bessemer.tracking import check_store
    from bessemer.training.storage import storage_folder, tracking_of

    uri = tracking_of(settings, storage_folder(settings))
    check_store(uri)
    return uri
