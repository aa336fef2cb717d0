"""Settings of judging and registering models: what is measured on which data, and what may go out.

Only declares; `bessemer/judgement` does it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bessemer.config.section import Section

Task = Literal["auto", "classification", "regression", "segmentation", "language", "generation", "none"]


class Evaluation(Section):
    """What `bessemer evaluate` measures beside what the program itself logs."""

    task: Task = Field(
        "auto",
        description="Which metrics; auto: by what the model returns and the batch holds; none: only those "
        "of the program.",
    )
    num_bootstrap: int = Field(
        1000, ge=0, description="Resamples for confidence intervals (count); 0: no intervals."
    )
    confidence: float = Field(0.95, gt=0, lt=1, description="Level of the confidence intervals (fraction).")
    slices: list[str] = Field(
        [],
        description="Parts of the data to measure on their own: columns or keys of a sample, or "
        "package.module:function that gets a sample and returns a name.",
    )
    predict: str = Field(
        "",
        description="What gets the model (a list of them, if the program places several) and a batch, and "
        "returns scores and target, as package.module:function; empty: the program's evaluation is watched.",
    )
    num_worst: int = Field(16, ge=0, description="Samples with the largest loss that are shown (count).")
    num_bins: int = Field(15, ge=2, description="Bins of the calibration (count).")


class Registry(Section):
    """How a model is registered, and what it must hold to be promoted."""

    name: str = Field("", description="Name of the registered model; empty: the project's name.")
    model: str = Field(
        "",
        description="Which model of the program, as run.track calls it; empty: the one that was judged, "
        "or the only one.",
    )
    split: str = Field(
        "", description="Data that the metric is of; empty: those that the program judges itself on."
    )
    metric: str = Field(
        "", description="Metric that decides, as `bessemer evaluate` calls it; empty: checkpoint.best_metric."
    )
    mode: Literal["", "min", "max"] = Field(
        "", description="Whether a smaller or larger metric is better; empty: checkpoint.best_mode."
    )
    threshold: float | None = Field(
        None, description="Worst value of the metric that may be promoted; none: any."
    )
    better_than_champion: bool = Field(
        True, description="Whether it must be better than the model that has the alias, on the same data."
    )
    min_improvement: float = Field(
        0.0,
        ge=0,
        description="By how much it must be better than the champion (a number, in the metric's unit).",
    )
