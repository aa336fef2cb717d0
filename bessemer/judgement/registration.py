"""Registers a checkpoint of a run as a version of a model, with all that is needed to use and to judge it.

The model is the program's own: the program is run up to its outer loop, and what it placed gets the
weights of the checkpoint. So nothing depends on what training logged at its end.
"""

from __future__ import annotations

import itertools
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import IterableDataset

from bessemer.config.loading import fields_of, value_at
from bessemer.config.project import Project
from bessemer.config.settings import SECTIONS, Settings
from bessemer.errors import ProjectError, SettingsError, TrackingError
from bessemer.judgement.card import Facts, card, purpose_of
from bessemer.judgement.marks import (
    CHECKPOINT_TAG,
    PROJECT_TAG,
    RUN_DIR_TAG,
    RUN_TAG,
    STEP_TAG,
)
from bessemer.judgement.outputs import input_of
from bessemer.judgement.preview import previewed
from bessemer.judgement.recording import content_of
from bessemer.judgement.report import Report, reports_of
from bessemer.judgement.runs import BEST, changed_code, find_checkpoint
from bessemer.tracking import (
    TrackedRun,
    Version,
    check_store,
    create_version,
    describe_version,
    log_model,
    tags_of,
    versions,
)
from bessemer.training.storage import checkpoints_of, place_of, recorded_run

if TYPE_CHECKING:
    from bessemer.training.checkpoints import Saved, State
    from bessemer.training.session import Session

CHALLENGER = "challenger"
CARD_FILE = "model_card.md"
_NUM_EXAMPLE_SAMPLES = 4
# MLflow writes names and versions as NAME/VERSION and NAME@ALIAS.
_NAME = re.compile(r"[^/:@%\"']+")


@dataclass(frozen=True)
class Registered:
    """What came of a registration.

    Attributes:
        version: of the model.
        is_new: whether it was made now.
        form: how the model is stored: "pt2", "pickle", or "" if it was there already.
        reports: of its checkpoint.
        card_changed: whether the card of a version that was there was brought up to date.
    """

    version: Version
    is_new: bool
    form: str
    reports: tuple[Report, ...]
    card_changed: bool = False


def model_name(project: Project, settings: Settings) -> str:
    """Return what the registered model of a project is called.

    Raises:
        SettingsError: the name has characters that MLflow does not take.
    """
    name = settings.registry.name or project.name
    if not _NAME.fullmatch(name):
        raise SettingsError(
            f"registry.name is {name!r}", expected="a name without / : @ % and quotation marks"
        )
    return name


def register(
    project: Project,
    settings: Settings,
    run_dir: Path,
    asked: str = BEST,
    if_changed: bool = False,
) -> Registered:
    """Register a checkpoint of a run; it becomes the challenger.

    Args:
        project: whose run it is.
        settings: of the run.
        run_dir: its folder.
        asked: "best", "last" or the step of a checkpoint.
        if_changed: whether a checkpoint that is registered already is left as it is, its card aside.

    Raises:
        ProjectError: there is no such checkpoint, or no such model in the program.
        TrackingError: the run is not tracked, or the registry cannot be reached. Nothing is left behind.
    """
    saved, choice = find_checkpoint(run_dir, settings, asked)
    name = model_name(project, settings)
    tracked = recorded_run(run_dir)
    if tracked is None:
        raise TrackingError(
            f"run {run_dir.name} is not recorded in MLflow",
            expected="a run that bessemer train has recorded",
            todo=f"bessemer train --project {project.name}",
        )
    check_store(tracked.uri)
    reports = tuple(
        report
        for report in reports_of(run_dir)
        if report.checkpoint.sha256 == saved.sha256 and not report.checkpoint.registered
    )
    same = [v for v in versions(tracked.uri, name) if v.tags.get(CHECKPOINT_TAG) == saved.sha256]
    with previewed(project, settings) as session:
        state = checkpoints_of(run_dir, settings).load(saved)
        model = _model(session, state, settings, reports)
        facts = _facts(project, settings, session, state, name, model, tracked, saved, choice)
        text = card(facts, reports)
        if if_changed and same:
            changed = same[-1].description != text
            if changed:
                describe_version(tracked.uri, name, same[-1].number, text)
            return Registered(same[-1], False, "", reports, changed)
        example = _example(session, state, model)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / CARD_FILE
        file.write_text(text, encoding="utf-8")
        logged = log_model(
            tracked,
            model,
            re.sub(r"[./:%\"']", "_", name),
            example,
            [project.package_dir],
            saved.step,
            requirements=_requirements(project),
            files=[file],
            always_with_code=True,
        )
    tags = {
        PROJECT_TAG: project.name,
        RUN_TAG: run_dir.name,
        RUN_DIR_TAG: place_of(run_dir),
        STEP_TAG: str(saved.step),
        CHECKPOINT_TAG: saved.sha256,
        "bessemer.form": logged.form,
    }
    version = create_version(tracked.uri, name, logged.model_id, tracked.run_id, tags, text, CHALLENGER)
    return Registered(version, True, logged.form, reports)


def _model(session: Session, state: State, settings: Settings, reports: tuple[Report, ...]) -> nn.Module:
    """Return the program's model with the weights of the checkpoint, ready to predict."""
    names = {}
    for number, model in enumerate(session.models):
        tracked = [name for name, value in session.tracked.items() if value is model]
        names[tracked[0] if tracked else f"placed.{number}"] = model
    known = ", ".join(names) or "none before its outer loop"
    wanted = settings.registry.model
    if not wanted:
        judged = {report.model.partition(" (")[2].rstrip(")") for report in reports if report.model}
        found = [name for name in names if name in judged] or list(names)
        if len(found) != 1:
            raise ProjectError(
                f"the program places {len(names)} models: {known}",
                expected="one of them to be registered",
                todo="set registry.model in settings.toml",
            )
        wanted = found[0]
    if wanted not in names or wanted not in state["tracked"]:
        raise ProjectError(
            f"registry.model is {wanted!r}", expected=f"a model of the program that checkpoints keep: {known}"
        )
    model = names[wanted]
    model.load_state_dict(state["tracked"][wanted])
    return model.cpu().eval()


def _example(session: Session, state: State, model: nn.Module) -> np.ndarray[Any, Any]:
    """Return a few inputs as the program's data give them, which the model was tried with."""
    stepped = {number for number, saved in state["loaders"].items() if saved["stepped"]}
    numbers = sorted(session.loaders, key=lambda number: (number in stepped, number))
    failure = "the program makes no loader before its outer loop"
    for number in numbers:
        loader = session.loaders[number]
        dataset: Any = loader.dataset
        if isinstance(dataset, IterableDataset):
            samples = list(itertools.islice(dataset, _NUM_EXAMPLE_SAMPLES))
        else:
            samples = [dataset[index] for index in range(min(_NUM_EXAMPLE_SAMPLES, len(dataset)))]
        try:
            given = input_of(loader.collate_fn(samples))
            if given is None:
                failure = "a batch of its data has no tensor"
                continue
            with torch.no_grad():
                model(given)
        except Exception as error:
            failure = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            continue
        array: np.ndarray[Any, Any] = given.numpy()
        return array
    raise ProjectError(
        f"{type(model).__name__} cannot be called with the first tensor of a batch: {failure}",
        expected="a model that predicts from one tensor, to be registered with its signature",
        todo="name another model in registry.model, or give forward() defaults for its other arguments",
    )


def _requirements(project: Project) -> list[str]:
    """Return the pinned packages of a project, as its lock file has them."""
    file = project.root / "requirements.lock"
    if not file.is_file():
        return []
    lines = (line.partition("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("-")]


def _facts(
    project: Project,
    settings: Settings,
    session: Session,
    state: State,
    name: str,
    model: nn.Module,
    tracked: TrackedRun,
    saved: Saved,
    choice: str,
) -> Facts:
    stepped = {number for number, entry in state["loaders"].items() if entry["stepped"]}
    data: dict[str, tuple[str, int | None]] = {}
    for number in sorted(session.loaders):
        dataset: Any = session.loaders[number].dataset
        role = f"{'trained on' if number in stepped else 'judged by in training'} (loader {number})"
        size = len(dataset) if hasattr(dataset, "__len__") else None
        data[f"{role}, {type(dataset).__name__}"] = (content_of(dataset), size)
    tags = tags_of(tracked)
    return Facts(
        name=name,
        purpose=purpose_of(project),
        kind=type(model).__name__,
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        run=tracked.name,
        step=saved.step,
        choice=choice,
        sha256=saved.sha256,
        trained_on=data,
        settings=_own_settings(settings),
        commit=tags.get("mlflow.source.git.commit", ""),
        is_dirty=tags.get("bessemer.git_dirty") == "true",
        drift=changed_code(saved, settings, project),
    )


def _own_settings(settings: Settings) -> Mapping[str, str]:
    shown = ("data.seed", "scaling.loss_reduction")
    return {
        dotted: str(value_at(settings, dotted))
        for dotted, _ in fields_of(type(settings))
        if dotted in shown or dotted.partition(".")[0] not in SECTIONS
    }
