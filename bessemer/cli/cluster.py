"""Verbs about clusters: `cluster render`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bessemer.cli.common import PASS_ON, ConfigOption, console_for, ready, sections

if TYPE_CHECKING:
    from bessemer.deployment.rendering import Rendered

verbs = typer.Typer()
cluster = typer.Typer(no_args_is_help=True, help="Files of clusters, written from settings.")
verbs.add_typer(cluster, name="cluster")

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
    project: Annotated[
        str, typer.Option("--project", "-p", help="Whose cluster; default: the repository's own.")
    ] = "",
    config: ConfigOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder that gets cluster/; default: the project's, or this one."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Name of a file, without .yaml; may be repeated.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit status 1 if a file is not as rendered.")
    ] = False,
) -> None:
    """Write the files that clusters are started from; settings follow as --name value."""
    from bessemer.config.loading import load_settings
    from bessemer.config.settings import Settings
    from bessemer.deployment.rendering import render as rendered_from
    from bessemer.deployment.versions import ray_version

    console = console_for()
    if project:
        chosen = ready(project, console)
        settings, name, root = sections(chosen, context.args, config), chosen.name, chosen.root
    else:
        root, name = Path.cwd(), ""
        file = config or (root / _SETTINGS if (root / _SETTINGS).is_file() else None)
        settings = load_settings(Settings, context.args, os.environ, file).settings
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
