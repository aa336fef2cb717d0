"""A trained model as an MLflow model, with its signature and what it needs to be loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.errors import TrackingError
from bessemer.tracking.runs import TrackedRun
from bessemer.tracking.store import errors_named

if TYPE_CHECKING:
    import numpy as np
    from torch import nn


def log_model(
    tracked: TrackedRun,
    model: nn.Module,
    name: str,
    example: np.ndarray[Any, Any],
    code: Sequence[Path],
    step: int,
) -> str:
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

    Returns:
        How it was stored: "pt2" or "pickle".

    Raises:
        TrackingError: neither form could be logged.
    """
    import mlflow
    import mlflow.pytorch
    import torch
    from mlflow.models import Model, infer_signature

    mlflow.set_tracking_uri(tracked.uri)
    # A logged model goes to the active experiment, whatever run it is given.
    mlflow.set_experiment(experiment_id=tracked.experiment_id)
    with torch.no_grad():
        output = model(torch.from_numpy(example))
    predicted = output.numpy() if isinstance(output, torch.Tensor) else None
    signature = infer_signature(example, predicted)
    packages = [f"torch=={torch.__version__.split('+')[0]}", "mlflow", "numpy"]
    forms: list[tuple[str, dict[str, Any]]] = [
        ("pt2", {"input_example": example}),
        ("pickle", {"code_paths": [str(path) for path in code]}),
    ]
    failures = []
    with errors_named(tracked.uri):
        for form, extra in forms:
            try:
                Model.log(
                    artifact_path=None,
                    name=name,
                    flavor=mlflow.pytorch,
                    run_id=tracked.run_id,
                    pytorch_model=model,
                    signature=signature,
                    pip_requirements=packages,
                    serialization_format=form,
                    step=step,
                    **extra,
                )
                return form
            except Exception as error:
                failures.append(f"{form}: {type(error).__name__}: {str(error).splitlines()[0]}")
    raise TrackingError(
        f"the model {name} could not be logged ({'; '.join(failures)})",
        expected="a model that torch.export or pickle can store",
        todo="set tracking.log_model = false, or make the model exportable",
    )
