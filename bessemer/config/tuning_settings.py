"""Settings of a search: what is tried, how it is chosen, and when a trial is ended early.

Only declares; `bessemer/search` does it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bessemer.config.section import Section

Bounds = dict[str, float | int | bool | str | list[float | int | bool | str]]


class Tuning(Section):
    """What `bessemer tune` searches, how, and how much of it."""

    metric: str = Field("", description="Metric to judge trials by; empty: checkpoint.best_metric.")
    mode: Literal["", "min", "max"] = Field(
        "", description="Whether a smaller or larger metric is better; empty: checkpoint.best_mode."
    )
    space: dict[str, Bounds] = Field(
        default_factory=dict,
        description="Ranges by setting name: {low, high, log}, or {choices = [...]}; num: points of a grid.",
    )
    suggestions: dict[str, Bounds] = Field(
        default_factory=dict,
        description="Ranges that conversion found likely; searched where tuning.search names them.",
    )
    search: list[str] = Field(
        default_factory=list, description="Names of suggestions that are searched, beside tuning.space."
    )
    sampler: Literal["tpe", "random", "grid"] = Field(
        "tpe", description="How settings are chosen: Optuna's TPE, at random, or every point of a grid."
    )
    scheduler: Literal["asha", "median", "none", "pbt"] = Field(
        "asha",
        description="When trials end early: successive halving, below the median, or never; pbt: population "
        "based training.",
    )
    seed: int = Field(0, ge=0, description="Seed of the choices; trials train with data.seed.")
    num_trials: int = Field(20, ge=1, description="Settings that are tried (count).")
    begin_with_defaults: bool = Field(
        True,
        description="Whether the first trial has the settings as they are, where they lie in the space, so "
        "that no search ends worse than it began.",
    )
    workers_per_trial: int = Field(
        0, ge=0, description="Workers of a trial (count); 0: as many as scaling.num_workers says."
    )
    max_hours: float = Field(
        0.0,
        ge=0,
        description="Time after which no trial begins and those that run are stopped (hours); 0: any.",
    )
    max_gpu_hours: float = Field(
        0.0, ge=0, description="GPU time after which the search ends like that (hours); 0: any."
    )
    max_at_once: int = Field(
        0,
        ge=0,
        description="Trials that train at the same time (count); 0: as many as the cluster has room for.",
    )
    grace_turns: int = Field(
        1,
        ge=1,
        description="Turns of the outer loop that every trial is given before it may end early (epochs).",
    )
    reduction: int = Field(
        3,
        ge=2,
        description="Asha: at each rung one of so many trials goes on, so many times as long (count).",
    )
    num_startup: int = Field(
        10,
        ge=1,
        description="Tpe: trials at random before it learns; median: trials before it ends any (count).",
    )
    population: int = Field(
        4, ge=2, description="Pbt: trials that train side by side; takes the place of num_trials (count)."
    )
    interval_turns: int = Field(
        1, ge=1, description="Pbt: turns after which the worst take over the state of the best (epochs)."
    )
    quantile: float = Field(
        0.25,
        gt=0,
        le=0.5,
        description="Pbt: share of the population that is replaced, and that is copied (fraction).",
    )
    resample: float = Field(
        0.25,
        ge=0,
        le=1,
        description="Pbt: probability that a copied setting is drawn anew, not nudged (fraction).",
    )
    max_failures: int = Field(
        3, ge=1, description="Trials that fail in a row, before one is complete, that end the search (count)."
    )
