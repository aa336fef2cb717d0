"""Verbs for clusters elsewhere: `submit`, `jobs`, and `job`, which is what a submitted job runs."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from bessemer.cli.common import PASS_ON, JsonOption, console_for, load, ready, sections

if TYPE_CHECKING:
    from bessemer.config.settings import Settings
    from bessemer.remote.jobs import Job, Jobs
    from bessemer.remote.named import Target

verbs = typer.Typer()
jobs = typer.Typer(
    help="Jobs on a cluster: list them, show what they print, stop them.", no_args_is_help=True
)
verbs.add_typer(jobs, name="jobs")

ClusterOption = Annotated[
    str,
    typer.Option(
        "--cluster",
        help="Name under [deploy.clusters] in settings.toml, compose, or http://host:port; default: the "
        "only one that is named there, else compose.",
    ),
]
ProjectForClusters = Annotated[
    str, typer.Option("--project", "-p", help="Whose settings name the clusters; default: nobody's.")
]
JobArgument = Annotated[str, typer.Argument(help="Name of the job; default: the newest.")]


@verbs.command(context_settings=PASS_ON)
def submit(
    context: typer.Context,
    verb: Annotated[str, typer.Argument(help="train, tune or evaluate.")],
    project: Annotated[
        str, typer.Option("--project", "-p", help="Name under projects/ or src/, or a project's folder.")
    ],
    cluster: ClusterOption = "",
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Only submit; do not follow the job.")] = False,
    config: Annotated[
        Path | None, typer.Option("--config", help="Settings file; default: the project's own.")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Train, tune or evaluate on a cluster: the options are those of the verb, and settings.

    Follows the job and ends as it ends. Ctrl-C asks the job to stop after a checkpoint; a second Ctrl-C
    leaves it to itself.
    """
    import json

    from bessemer.remote.command import submit as send
    from bessemer.remote.submission import VERBS

    if verb not in VERBS:
        from bessemer.errors import UserError, nearest

        raise UserError(f"{verb!r} cannot be submitted", expected=nearest(verb, VERBS) or ", ".join(VERBS))
    console = console_for(json_output or no_wait)
    chosen = ready(project, console)
    options, given, research = _split(verb, context.args)
    sent = send(chosen, load(chosen, given, config, research), verb, options, config, cluster, os.environ)
    facts = {"job": sent.name, "run": sent.run, "cluster": sent.target.name, "address": sent.target.address}
    if json_output:
        print(json.dumps(facts))
    elif no_wait:
        print(sent.name)
    else:
        size = f"{sent.num_bytes / 2**20:.1f} MiB sent"
        where = f"{sent.target.name} ({sent.target.address})"
        console.print(f"job {sent.name} on {where}, {size}", highlight=False, soft_wrap=True)
    if not no_wait:
        raise typer.Exit(_followed(sent.jobs, sent.name, sys.stderr if json_output else sys.stdout))


def _followed(client: Jobs, name: str, stream: TextIO) -> int:
    """Show what a job prints until it ends; return the exit status that it comes to."""

    def write(text: str) -> None:
        stream.write(text)
        stream.flush()

    try:
        job = client.follow(name, write)
    except KeyboardInterrupt:
        print(f"\nstopping {name}; Ctrl-C again leaves it running", file=sys.stderr)
        with contextlib.suppress(KeyboardInterrupt):
            client.stop(name)
            job = client.follow(name, write)
            return job.outcome
        print(f"left running: bessemer jobs logs {name}", file=sys.stderr)
        raise
    if job.status != "SUCCEEDED":
        print(f"job {name} {job.status.lower()}: {_last_line(job.message)}", file=sys.stderr)
    return job.outcome


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason was given"])[-1]


@jobs.command("list")
def list_jobs(
    cluster: ClusterOption = "", project: ProjectForClusters = "", json_output: JsonOption = False
) -> None:
    """List the jobs of a cluster, newest first."""
    import json
    from dataclasses import asdict

    from bessemer.remote.showing import show_jobs

    found = _jobs(cluster, project).all()
    if json_output:
        print(json.dumps([{**asdict(job), "metadata": dict(job.metadata)} for job in found]))
        return
    show_jobs(console_for(), found)


@jobs.command("logs")
def job_logs(
    job: JobArgument = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    cluster: ClusterOption = "",
    project: ProjectForClusters = "",
) -> None:
    """Show what a job has printed."""
    client = _jobs(cluster, project)
    found = client.get(job)
    if follow:
        raise typer.Exit(_watched(client, found))
    sys.stdout.write(client.logs(found.name))


def _watched(client: Jobs, job: Job) -> int:
    """Show what a job prints until it ends or the user has seen enough, which stops nothing."""
    return client.follow(job.name, lambda text: print(text, end="", flush=True)).outcome


@jobs.command("stop")
def stop_job(
    job: Annotated[str, typer.Argument(help="Name of the job.")],
    cluster: ClusterOption = "",
    project: ProjectForClusters = "",
) -> None:
    """Ask a job to end after a checkpoint at its next step."""
    client = _jobs(cluster, project)
    found = client.get(job)
    if found.has_ended:
        print(f"{found.name} has ended already: {found.status.lower()}")
        return
    client.stop(found.name)
    print(f"{found.name} was asked to stop; `bessemer jobs list` says when it has")


def _jobs(cluster: str, project: str) -> Jobs:
    from bessemer.remote.dashboard import ask
    from bessemer.remote.jobs import Jobs

    settings, target = target_of(cluster, project)
    # Which says plainly what is wrong, where there is no such cluster.
    ask(target, settings.cluster.connect_timeout_s)
    return Jobs(target, settings.cluster.connect_timeout_s)


def target_of(cluster: str, project: str) -> tuple[Settings, Target]:
    """Return the settings of a project, or of nobody, and the cluster of a name among them."""
    from bessemer.config.loading import load_settings
    from bessemer.config.settings import Settings
    from bessemer.remote.named import find_target

    root = None
    if project or (Path.cwd() / "settings.toml").is_file():
        chosen = ready(project or ".", console_for(json_output=True))
        settings, root = sections(chosen, [], None), chosen.root
    else:
        settings = load_settings(Settings, [], os.environ).settings
    return settings, find_target(settings.deploy, cluster, os.environ, Path.cwd(), root)


@verbs.command(hidden=True)
def job() -> None:
    """Do what a submitted job does, in its folder: check that all is as it was submitted, then the verb."""
    import bessemer
    from bessemer.cli import entry
    from bessemer.remote.submission import check_bessemer, check_pins, read_order

    order = read_order(Path.cwd())
    check_bessemer(order, Path(bessemer.__file__).parent)
    check_pins({name: pin for name, pin in order.pins.items() if name != "bessemer"})
    raise typer.Exit(entry(order.arguments()))


def _split(verb: str, arguments: Sequence[str]) -> tuple[list[str], list[str], str]:
    """Tell the options of a verb from settings.

    Returns:
        the options as on a command line; all else; and the research code's own command line, which is read
        here and travels as settings.
    """
    from bessemer.cli import app

    group: Any = typer.main.get_command(app)
    command = group.commands[verb]
    context = command.make_context(verb, ["--project", ".", *arguments], resilient_parsing=True)
    options: list[str] = []
    research = ""
    for parameter in command.params:
        source = context.get_parameter_source(parameter.name)
        if source is None or source.name != "COMMANDLINE" or parameter.name in ("project", "config"):
            continue
        value = context.params[parameter.name]
        if parameter.name == "research_args":
            research = value
            continue
        options += _as_typed(parameter.opts[0], value, repeated=parameter.multiple)
    return options, list(context.args), research


def _as_typed(flag: str, value: Any, repeated: bool) -> list[str]:
    """Return an option and its value, or values, as on a command line."""
    if value is True:
        return [flag]
    if repeated:
        return [word for each in value for word in (flag, str(each))]
    return [flag, *map(str, value if isinstance(value, list | tuple) else [value])]
