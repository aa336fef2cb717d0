"""The verb that does all of it, from the first download to a registered model: `train-all`.

Each stage leaves alone what is as it would make it, and says so, so a second call does only what changed.
"""

from __future__ import annotations

from typing import Annotated

import typer

from bessemer.cli import data, judgement
from bessemer.cli.common import PASS_ON, ConfigOption, ProjectOption, console_for
from bessemer.cli.training import train_run
from bessemer.errors import NoLoaderError

verbs = typer.Typer()


@verbs.command("train-all", context_settings=PASS_ON)
def train_all(
    context: typer.Context,
    project: ProjectOption,
    config: ConfigOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings about data count as errors.")] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Download nothing; what is missing is an error.")
    ] = False,
) -> None:
    """Download, preprocess, validate, train, evaluate and register; again: only what has changed."""
    _stage("download")
    data.download(context, project, config, offline)
    _stage("preprocess")
    data.preprocess(context, project, config)
    _stage("validate")
    try:
        data.validate(context, project, config, strict=strict, if_changed=True)
    except NoLoaderError as error:
        _say(f"nothing to validate: {error.found}")
    _stage("train")
    run = train_run(context, project, config, if_changed=True)
    _stage("evaluate")
    judgement.evaluate(context, project, run, if_changed=True)
    _stage("register")
    judgement.register(context, project, run, if_changed=True)


def _stage(name: str) -> None:
    console_for().rule(name, align="left", style="bold", characters="-")


def _say(text: str) -> None:
    console_for().print(text, markup=False, highlight=False, soft_wrap=True)
