"""The command line: verbs only. What a verb does lives elsewhere and is imported when it is called.

Anything after a verb that is not an option of its own is a setting of the project, such as
`--lr 0.5` or `--scaling.num-workers 4`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from bessemer.config.loading import LoadedSettings
    from bessemer.config.project import Project

_STOPPED = 130
# What --resume without the name of a run stands for.
_NEWEST = "newest"
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}

app = typer.Typer(
    name="bessemer",
    help="Turn research training code into production training on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Prepare and check the data of a project.", no_args_is_help=True)
app.add_typer(data_app, name="data")

ProjectOption = Annotated[
    str,
    typer.Option("--project", "-p", help="Name under projects/ or src/, or a project's folder."),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Settings file; default: the project's own.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]


@app.callback()
def main(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """Turn research training code into production training on Ray."""
    if debug:
        os.environ["BESSEMER_DEBUG"] = "1"


@app.command(context_settings=_PASS_ON)
def train(
    context: typer.Context,
    project: ProjectOption,
    config: ConfigOption = None,
    resume: Annotated[
        str,
        typer.Option("--resume", metavar="[RUN]", help="Go on with this run; without a name, the newest."),
    ] = "",
    allow_drift: Annotated[
        bool, typer.Option("--allow-drift", help="With --resume: though code, settings or data have changed.")
    ] = False,
) -> None:
    """Train a project; settings follow as --name value."""
    from bessemer.reports import show_outcome
    from bessemer.training.cluster import disconnect
    from bessemer.training.evaluation import find_run, settings_file_of
    from bessemer.training.trainer import Resume, fit, is_complete

    console = _console()
    chosen = _ready(project, console)
    resumed = None
    if resume:
        name = "" if resume == _NEWEST else resume
        run_dir = find_run(
            _load(chosen, context.args, config).settings, chosen.name, name, needs_checkpoint=False
        )
        if is_complete(run_dir):
            console.print(f"run {run_dir.name} is complete: there is nothing to go on with", highlight=False)
            return
        resumed, config = Resume(run_dir, allow_drift), config or settings_file_of(run_dir)
    loaded = _load(chosen, context.args, config)
    outcome = fit(
        chosen.entry,
        loaded.settings,
        project=chosen.name,
        search_path=[str(chosen.root)],
        code=[chosen.package_dir],
        tags=_provenance(chosen),
        console=console,
        resume=resumed,
    )
    # Before the result is shown, so that no late message of Ray's stands in it.
    disconnect()
    show_outcome(console, chosen.name, outcome)


@app.command(context_settings=_PASS_ON)
def evaluate(
    context: typer.Context,
    project: ProjectOption,
    run: Annotated[str, typer.Option("--run", help="Name of the run; default: the newest.")] = "",
    json_output: JsonOption = False,
) -> None:
    """Judge the best checkpoint of a run with the project's own evaluation."""
    import json

    from bessemer.training.evaluation import evaluate as judge
    from bessemer.training.evaluation import find_run, settings_file_of

    console = _console(json_output)
    chosen = _ready(project, console)
    run_dir = find_run(_load(chosen, context.args, None).settings, chosen.name, run)
    loaded = _load(chosen, context.args, settings_file_of(run_dir))
    found = judge(
        chosen.entry,
        loaded.settings,
        run_dir,
        search_path=[str(chosen.root)],
    )
    if json_output:
        print(json.dumps({"run": str(found.run_dir), "step": found.step, "metrics": found.metrics}))
        return
    console.print(f"run {found.run_dir.name}, checkpoint at step {found.step}", highlight=False)
    for name, value in found.metrics.items():
        console.print(f"  {name} {value:.6g}", highlight=False)


@app.command(context_settings=_PASS_ON)
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

    chosen = _ready(project, _console(json_output))
    loaded = _load(chosen, context.args, config)
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
    _console().print(table)


@app.command()
def convert(
    source: Annotated[str, typer.Argument(help="A file or folder, or a name under src/.")],
    out: Annotated[Path | None, typer.Option("--out", help="Default: projects/<name>.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show what would be done; write nothing.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Write a production package from research code, without running it."""
    from bessemer.conversion.command import convert_and_report

    path = _source_path(source)
    target = out or Path("projects") / path.stem
    convert_and_report(path, target, plan, json_output, _console())


@app.command()
def check(
    project: Annotated[str, typer.Argument(help="A project, a folder, or a Python file.")],
    json_output: JsonOption = False,
) -> None:
    """Find what a restart would lose, by reading the code; exit status 1 if there is anything."""
    from bessemer.conversion.checking import check_and_report, find_path

    if check_and_report(find_path(project, Path.cwd()), json_output, _console()):
        raise typer.Exit(1)


@app.command(context_settings=_PASS_ON)
def tune(context: typer.Context, project: ProjectOption, config: ConfigOption = None) -> None:
    """Search for better settings, as the [tuning] section says."""
    from bessemer.reports import show_study
    from bessemer.training.tuning import tune as search

    console = _console()
    chosen = _ready(project, console)
    loaded = _load(chosen, context.args, config)
    study = search(
        chosen.entry,
        loaded.settings,
        project=chosen.name,
        search_path=[str(chosen.root)],
        console=console,
    )
    show_study(console, chosen.name, study)


@app.command(context_settings=_PASS_ON)
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

    console = _console(json_output)
    if project:
        settings = _load(_ready(project, console), context.args, None).settings
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


@app.command(context_settings=_PASS_ON)
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

    from bessemer.drill.command import chosen_disturbances, prepared, tidy
    from bessemer.drill.command import drill as perform
    from bessemer.drill.soak import soak as perform_soak
    from bessemer.drill.table import announced, show_verdicts

    console = _console(json_output)
    disturbances = chosen_disturbances(only or [])
    chosen = _ready(project, console)
    arguments = [*context.args, *(["--scaling.num-workers", str(num_workers)] if num_workers else [])]
    settings = _load(chosen, arguments, None).settings
    if settings.scaling.is_elastic:
        # To the last bit, numbers are compared at one number of workers only.
        arguments += ["--scaling.num-workers", str(settings.scaling.min_workers)]
        settings = _load(chosen, arguments, None).settings
    tell = announced(console, quiet=json_output)
    with prepared(project, chosen.name, settings, arguments, every_steps, limit_s) as (course, head):
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


@app.command()
def mlflow(
    port: Annotated[int, typer.Option(help="Port of the page.")] = 5000,
    storage: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs"),
) -> None:
    """Open the MLflow page on the store that runs are recorded in; ends with Ctrl-C."""
    from bessemer.tracking import serve_page, tracking_uri

    uri = tracking_uri("", storage)
    _console().print(f"MLflow at http://127.0.0.1:{port} on {uri}", highlight=False, soft_wrap=True)
    raise typer.Exit(serve_page(uri, storage, port))


@data_app.command(context_settings=_PASS_ON)
def download(context: typer.Context, project: ProjectOption, config: ConfigOption = None) -> None:
    """Download what the project's data/preprocessing.py says."""
    _stage(context, project, config, "download")


@data_app.command(context_settings=_PASS_ON)
def preprocess(context: typer.Context, project: ProjectOption, config: ConfigOption = None) -> None:
    """Preprocess as the project's data/preprocessing.py says."""
    _stage(context, project, config, "preprocess")


@data_app.command(context_settings=_PASS_ON)
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

    console = _console()
    chosen = _ready(project, console)
    loaded = _load(chosen, context.args, config)
    reports, between = validate_data(chosen.entry, loaded.settings, [str(chosen.root)], max_samples)
    show_data(console, reports, between)
    findings = [finding for report in reports for finding in report.findings] + between
    if any(strict or finding.severity == "error" for finding in findings):
        raise typer.Exit(1)


def _stage(context: typer.Context, project: str, config: Path | None, stage: Any) -> None:
    from bessemer.data.preprocessing import stage_of

    console = _console()
    chosen = _ready(project, console)
    loaded = _load(chosen, context.args, config)
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


def _ready(name: str, console: Console) -> Project:
    """Find a project; convert it first if its research code is new or has changed."""
    from bessemer.config.project import PROJECTS_FOLDER, SOURCES_FOLDER, find_project
    from bessemer.errors import ProjectError

    base = Path.cwd()
    try:
        project = find_project(name, base)
        source = project.source
    except ProjectError:
        candidates = (base / SOURCES_FOLDER / name, base / SOURCES_FOLDER / f"{name}.py")
        source = next((path for path in candidates if path.exists()), None)
        if source is None or "/" in name:
            raise
        project = None
    if source is not None and source.exists():
        from bessemer.conversion.command import bring_up_to_date

        bring_up_to_date(source, project.root if project else base / PROJECTS_FOLDER / name, console)
        project = find_project(name, base)
    assert project is not None
    return project


def _source_path(source: str) -> Path:
    from bessemer.config.project import SOURCES_FOLDER

    path = Path(source)
    if path.exists() or "/" in source:
        return path
    named = Path.cwd() / SOURCES_FOLDER / source
    return named if named.exists() else path


def _load(project: Project, arguments: list[str], file: Path | None) -> LoadedSettings:
    from bessemer.config.loading import load_settings

    return load_settings(project.settings_class(), arguments, os.environ, file or project.settings_file)


def _with_resumed_run(arguments: list[str]) -> list[str]:
    """Give --resume its value where it stands alone: the option parser knows no optional values."""
    given = list(arguments)
    if "--resume" in given:
        place = given.index("--resume")
        if place + 1 == len(given) or given[place + 1].startswith("-"):
            given.insert(place + 1, _NEWEST)
    return given


def _provenance(project: Project) -> dict[str, str]:
    from bessemer.utils.provenance import provenance

    return provenance(project.root, project.source_sha256)


def _console(json_output: bool = False) -> Console:
    """Return where to write for people; standard output is for JSON alone where that is asked for."""
    from rich.console import Console

    # Named, so that it stays what it is while Ray's own messages are sent to a log.
    return Console(file=sys.stderr if json_output else sys.stdout)


def entry(arguments: list[str] | None = None) -> int:
    """Run the command line; errors become one message and an exit status.

    Returns:
        0 if all went well, 1 for a failure, 2 for a mistake of the user's, 130 after Ctrl-C.
    """
    from bessemer.errors import BessemerError

    try:
        status = app(
            args=_with_resumed_run(sys.argv[1:] if arguments is None else arguments), standalone_mode=False
        )
        if status == _STOPPED:  # what the option parser makes of Ctrl-C
            raise KeyboardInterrupt
        return status if isinstance(status, int) else 0
    except BessemerError as error:
        if os.environ.get("BESSEMER_DEBUG"):
            raise
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return _STOPPED
    except typer.Exit as leaving:
        return leaving.exit_code
    except typer.Abort:
        print("stopped", file=sys.stderr)
        return _STOPPED
    except Exception as error:
        show = getattr(error, "show", None)  # a usage error of the option parser
        if show is None or not hasattr(error, "exit_code"):
            raise
        show()
        return int(error.exit_code)
