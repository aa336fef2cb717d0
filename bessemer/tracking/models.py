"""A trained model as an MLflow model, with its signature and what it needs to be loaded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bessemer.errors import TrackingError
from bessemer.tracking.runs import TrackedRun
from bessemer.tracking.store import in_use

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class LoggedModel:
    """A model that was logged.

    Attributes:
        form: how it was stored: "pt2" or "pickle".
        model_id: what MLflow calls it.
    """

    form: str
    model_id: str


def log_model(
    tracked: TrackedRun,
    model: nn.Module,
    name: str,
    example: np.ndarray[Any, Any],
    code: Sequence[Path],
    step: int,
    requirements: Sequence[str] = (),
    files: Sequence[Path] = (),
    always_with_code: bool = False,
) -> LoggedModel:
    """Log a model with its signature, to be loaded by `mlflow.pyfunc.load_model`.

    It is exported as a graph (torch's pt2 format), which needs no code of the project to load. A
    model that cannot be exported is pickled, together with the code it needs.

    Args:
        tracked: the run that it belongs to.
        model: in evaluation mode, on the CPU.
        name: of the logged model.
        example: one input batch, of at least two samples.
        code: folders of packages that a pickled model needs.
        step: optimizer steps that it was trained for.
        requirements: pinned packages, as pip takes them; those that the form needs are chosen from them.
        files: more files that are kept with it.
        always_with_code: whether a graph comes with the code too, for people to read.

    Raises:
        TrackingError: neither form could be logged.
    """
    import mlflow
    import mlflow.pytorch
    import torch
    from mlflow.models import Model, infer_signature

    with torch.no_grad():
        output = model(torch.from_numpy(example))
    predicted = output.numpy() if isinstance(output, torch.Tensor) else None
    signature = infer_signature(example, predicted)
    own = {"torch": torch.__version__.split("+")[0], "numpy": np.__version__, "mlflow": mlflow.__version__}
    few = [line for line in requirements if _name(line) in own]
    few += [f"{name}=={version}" for name, version in own.items() if name not in map(_name, few)]
    code_paths = {"code_paths": [str(path) for path in code]}
    forms: list[tuple[str, dict[str, Any]]] = [
        (
            "pt2",
            {
                "input_example": example,
                "pip_requirements": few,
                **(code_paths if always_with_code else {}),
            },
        ),
        # What is unpickled needs all that its code may import.
        (
            "pickle",
            {"input_example": example, "pip_requirements": list(requirements) or few, **code_paths},
        ),
    ]
    failures = []
    with in_use(tracked.uri):
        # A logged model goes to the active experiment, whatever run it is given.
        mlflow.set_experiment(experiment_id=tracked.experiment_id)
        for form, extra in forms:
            try:
                logged = Model.log(
                    artifact_path=None,
                    name=name,
                    flavor=mlflow.pytorch,
                    run_id=tracked.run_id,
                    pytorch_model=model,
                    signature=signature,
                    extra_files=[str(file) for file in files] or None,
                    serialization_format=form,
                    step=step,
                    **extra,
                )
                return LoggedModel(form, logged.model_id)
            except Exception as error:
                failures.append(f"{form}: {type(error).__name__}: {str(error).splitlines()[0]}")
    raise TrackingError(
        f"the model {name} could not be logged ({'; '.join(failures)})",
        expected="a model that torch.export or pickle can store",
        todo="set tracking.log_model = false, or make the model exportable",
    )


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9_.-]", requirement.strip(), maxsplit=1)[0].lower()
