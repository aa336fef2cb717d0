"""Verbs about clusters: `cluster render`, and `up`, `down`, `logs` of the containers of this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bessemer.cli.common import PASS_ON, ConfigOption, JsonOption, console_for, ready, sections

if TYPE_CHECKING:
    from bessemer.config.settings import Settings
    from bessemer.deployment.rendering import Rendered
    from bessemer.remote.containers import Containers

verbs = typer.Typer()
cluster = typer.Typer(
    no_args_is_help=True, help="Write files of clusters; start and stop the one of this machine."
)
verbs.add_typer(cluster, name="cluster")

WhoseOption = Annotated[
    str, typer.Option("--project", "-p", help="Whose cluster; default: the repository's own.")
]

_LOCK = "requirements.lock"
_SETTINGS = "cluster/settings.toml"
# What the files themselves say, by variables or in the job's command.
_NOT_PASSED = (
    *("deploy", "cluster", "checkpoint.storage_path", "tracking.uri", "tracking.run_name"),
    *("scaling.num_workers", "scaling.device", "scaling.cpus_per_worker", "scaling.gpus_per_worker"),
)


@cluster.command(context_settings=PASS_ON)
def render(
    context: typer.Context,
    project: WhoseOption = "",
    config: ConfigOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder that gets docker/ and cluster/; default: the project's."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Name of a file, such as compose; may be repeated.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit status 1 if a file is not as rendered.")
    ] = False,
) -> None:
    """Write the files that clusters are started from; settings follow as --name value."""
    from bessemer.deployment.rendering import render as rendered_from
    from bessemer.deployment.versions import ray_version

    console = console_for()
    settings, name, root = _whose(project, context.args, config)
    lock = root / _LOCK
    rendered = rendered_from(
        settings,
        ray_version(lock.read_text(encoding="utf-8") if lock.is_file() else ""),
        name,
        only or (),
        for_job(context.args),
    )
    folder = out or root
    for path, reason in rendered.left_out.items():
        console.print(f"left out {path}: {reason}", markup=False, highlight=False, soft_wrap=True)
    if check:
        wrong = differing(rendered, folder)
        for path in wrong:
            console.print(f"not as rendered: {folder / path}", markup=False, highlight=False, soft_wrap=True)
        if wrong:
            raise typer.Exit(1)
        console.print(f"{len(rendered.files)} files are as rendered", highlight=False)
        return
    _write(rendered, folder)
    for path in rendered.files:
        console.print(f"wrote {folder / path}", markup=False, highlight=False, soft_wrap=True)


@cluster.command(context_settings=PASS_ON)
def up(
    context: typer.Context,
    project: WhoseOption = "",
    config: ConfigOption = None,
    wait_s: Annotated[
        float, typer.Option("--wait-s", help="Longest time until all nodes are there (seconds).")
    ] = 300.0,
) -> None:
    """Start docker/compose.yaml here and wait until it is ready; settings follow as --name value."""
    from bessemer.deployment.compose import MLFLOW_USER, SECRETS_HERE
    from bessemer.remote.containers import bring_up, check_ready, check_rendered

    made, console = _containers(project, context.args, config), console_for()

    def tell(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    check_ready(made)
    if note := check_rendered(made, _whose(project, [], config)[0]):
        tell(f"note: {note}")
    facts = bring_up(made, wait_s, tell)
    deploy = made.settings.deploy
    cpus = sum(node.cpus for node in facts.nodes)
    tell(f"ready: {deploy.worker_nodes} nodes with {cpus:g} CPU, Ray {facts.ray}, Python {facts.python}")
    there = made.here if made.here != Path.cwd() else Path()
    tell(f"dashboard  http://127.0.0.1:{deploy.dashboard_port}  token in {there / SECRETS_HERE}/ray_token")
    tell(
        f"MLflow     http://127.0.0.1:{deploy.mlflow_port}  user {MLFLOW_USER}, password in "
        f"{there / SECRETS_HERE}/mlflow_password"
    )
    tell(f"next       bessemer submit train --project {project or 'NAME'} --cluster compose")


@cluster.command(context_settings=PASS_ON)
def down(
    context: typer.Context,
    project: WhoseOption = "",
    config: ConfigOption = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the volumes: runs, and what MLflow recorded.")
    ] = False,
) -> None:
    """Remove the containers of this machine's cluster, its network and its volumes."""
    from bessemer.remote.containers import containers, take_down

    made = _containers(project, context.args, config)
    there = containers(made)
    take_down(made, keep)
    kept = "its volumes are kept" if keep else "its volumes too"
    console_for().print(f"removed {len(there)} containers of {made.name}, {kept}", highlight=False)


@cluster.command(context_settings=PASS_ON)
def logs(
    context: typer.Context,
    services: Annotated[list[str] | None, typer.Argument(help="head, worker, mlflow; default: all.")] = None,
    project: WhoseOption = "",
    config: ConfigOption = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    tail: Annotated[int, typer.Option("--tail", help="Lines of each container to begin with (count).")] = 100,
) -> None:
    """Show what the containers of this machine's cluster print."""
    from bessemer.remote.containers import follow_logs

    raise typer.Exit(follow_logs(_containers(project, [], config), services or [], follow, tail))


@cluster.command(context_settings=PASS_ON)
def drill(
    context: typer.Context,
    project: Annotated[str, typer.Option("--project", "-p", help="Which project is trained.")],
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Name of a disturbance; may be repeated.")
    ] = None,
    workers: Annotated[
        list[int] | None, typer.Option("--workers", help="Workers; may be repeated; default: 2, then 3.")
    ] = None,
    nodes: Annotated[int, typer.Option("--nodes", help="Nodes beside the head (count).")] = 3,
    every_steps: Annotated[int, typer.Option("--every-steps", help="Steps between checkpoints.")] = 7,
    seed: Annotated[int, typer.Option("--seed", help="Chooses the moments of the strikes.")] = 0,
    limit_s: Annotated[float, typer.Option("--limit-s", help="Longest time of one job (seconds).")] = 600.0,
    storage: Annotated[
        list[str] | None,
        typer.Option("--storage", help="volume, s3; may be repeated; default: both."),
    ] = None,
    image: Annotated[str, typer.Option("--image", help="Of the nodes; default: what make build makes.")] = "",
    json_output: JsonOption = False,
) -> None:
    """Kill, cut off and restart nodes of a cluster of containers; exit status 1 if any number changes by it.

    The clusters are the drill's own, beside any other, and are removed at the end.
    """
    import json
    from dataclasses import asdict

    from bessemer.config.settings import Settings
    from bessemer.deployment.image import image_name
    from bessemer.drill.on_cluster import Grounds, chosen_plans, drill_cluster
    from bessemer.drill.submitted import Course
    from bessemer.drill.table import announced, show_verdicts

    console = console_for(json_output)
    plans = chosen_plans(storage or [], workers or [], only or [], seed)
    chosen = ready(project, console)
    settings = sections(chosen, context.args, None)
    course = Course(project, chosen.name, tuple(context.args), every_steps, limit_s)
    grounds = Grounds(settings.deploy, nodes, image or image_name(Settings()))
    tell = announced(console, quiet=json_output)
    verdicts = drill_cluster(grounds, course, settings, plans, tell)
    if json_output:
        print(json.dumps([asdict(verdict) for verdict in verdicts]))
    else:
        show_verdicts(console, verdicts, None)
    if any(verdict.is_bad for verdict in verdicts):
        raise typer.Exit(1)


def _containers(project: str, arguments: list[str], config: Path | None) -> Containers:
    """Return the cluster of this machine's containers of a project, or of the repository."""
    from bessemer.remote.containers import Containers

    settings, name, root = _whose(project, arguments, config)
    return Containers.of(root, settings, name)


def _whose(project: str, arguments: list[str], config: Path | None) -> tuple[Settings, str, Path]:
    """Return settings, name and folder of a project, or of the repository where none is named."""
    from bessemer.config.loading import load_settings
    from bessemer.config.settings import Settings

    if project:
        chosen = ready(project, console_for())
        return sections(chosen, arguments, config), chosen.name, chosen.root
    root = Path.cwd()
    file = config or (root / _SETTINGS if (root / _SETTINGS).is_file() else None)
    return load_settings(Settings, arguments, os.environ, file).settings, "", root


def for_job(arguments: Sequence[str]) -> list[str]:
    """Return those settings of a command line that a job is to have beside what its cluster says."""
    passed: list[str] = []
    passes = False
    for argument in arguments:
        if argument.startswith("--"):
            name = argument.partition("=")[0].removeprefix("--").removeprefix("no-").replace("-", "_")
            passes = not any(name == x or name.startswith(f"{x}.") for x in _NOT_PASSED)
        if passes:
            passed.append(argument)
    return passed


def differing(rendered: Rendered, folder: Path) -> list[str]:
    """Return the rendered files that a folder does not have, or has with another text."""

    def content(path: Path) -> bytes | None:
        return path.read_bytes() if path.is_file() else None

    return [x for x, text in rendered.files.items() if content(folder / x) != text.encode()]


def _write(rendered: Rendered, folder: Path) -> None:
    """Write the files, each whole or not at all.

    Raises:
        DeploymentError: one cannot be written.
    """
    from bessemer.errors import DeploymentError
    from bessemer.utils.files import write_whole

    for path, text in rendered.files.items():
        target = folder / path

        def put(part: Path, text: str = text) -> None:
            part.write_text(text, encoding="utf-8", newline="\n")

        try:
            write_whole(target, put)
        except OSError as error:
            raise DeploymentError(
                f"{target} cannot be written: {error.strerror}", "a folder that can be written", "see --out"
            ) from error
