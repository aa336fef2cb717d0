"""Every value a run depends on, as frozen pydantic-settings models.

A project subclasses `Settings` and adds the research code's own hyperparameters at top level; the
sections below belong to Bessemer. This module only declares: `config.loading` reads the values from
the command line, the environment and `settings.toml`, and says where each came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bessemer.config.data_settings import Checks, Data, Preparation
from bessemer.config.deploy_settings import Deploy
from bessemer.config.judgement_settings import Evaluation, Registry
from bessemer.config.section import Section
from bessemer.config.tuning_settings import Tuning

ENV_PREFIX = "BESSEMER_"
ENV_DELIMITER = "__"


def _num_workers(value: object) -> int | tuple[int, int]:
    """Read a number of workers, or a range: `2`, `[1, 4]`, and both as text."""
    parts: Sequence[object] = value if isinstance(value, list | tuple) else [value]
    if isinstance(value, str):
        parts = value.strip().removeprefix("[").removesuffix("]").split(",")
    try:
        if any(isinstance(part, bool) or (isinstance(part, float) and part % 1) for part in parts):
            raise ValueError
        counts = [int(str(part).strip()) if isinstance(part, str) else int(part) for part in parts]  # type: ignore[call-overload]
    except (TypeError, ValueError):
        raise ValueError("a count such as 2, or a range such as [1, 4]") from None
    if len(counts) == 1 and counts[0] >= 1:
        return counts[0]
    if len(counts) == 2 and 1 <= counts[0] <= counts[1]:
        return counts[0] if counts[0] == counts[1] else (counts[0], counts[1])
    raise ValueError("a count of at least 1, or a range from at least 1 such as [1, 4]")


if TYPE_CHECKING:
    NumWorkers = int | tuple[int, int]
else:
    # A union with a tuple would have the command line and the environment read lists.
    NumWorkers = Annotated[Any, BeforeValidator(_num_workers)]


class Scaling(Section):
    """How many workers train, with what, and how often they may die."""

    num_workers: NumWorkers = Field(
        1,
        description="Workers that train together, one process each (count); [1, 4]: as many from 1 to 4 "
        "as the cluster has room for, also when that changes.",
    )
    device: Literal["auto", "cpu", "gpu"] = Field(
        "auto",
        description="What a worker computes on; auto takes a GPU each where the cluster has enough.",
    )
    cpus_per_worker: float = Field(
        1.0, gt=0, description="Logical CPUs that Ray reserves for a worker (count)."
    )
    gpus_per_worker: float = Field(
        1.0, gt=0, description="GPUs that Ray reserves for a worker that computes on one (count)."
    )
    loss_reduction: Literal["mean", "sum"] = Field(
        "mean",
        description="Whether the training loss is the mean or the sum over its batch; "
        "it decides how gradients of workers are added.",
    )
    resize_every_s: float = Field(
        60.0,
        gt=0,
        description="How often a run whose num_workers is a range looks for room for more workers "
        "(seconds); each change starts the workers again from the last checkpoint.",
    )
    step_timeout_s: float = Field(
        1800.0,
        ge=0,
        description="Longest time without a step or batch after which a worker counts as hung and the "
        "workers start again (seconds); 0: never.",
    )
    max_failures: int = Field(3, ge=0, description="Failures of workers after which a run gives up (count).")
    max_failures_at_step: int = Field(
        3,
        ge=1,
        description="Failures in a row at the same step after which a run gives up (count); the same "
        "error of the program ends it at the second.",
    )
    max_preemptions: int = Field(
        -1,
        ge=-1,
        description="Preemptions of nodes after which a run gives up (count); -1: never.",
    )
    backoff_s: float = Field(
        1.0,
        ge=0,
        description="Wait before the attempt after a second failure without a new checkpoint, doubled "
        "for each that follows (seconds); 0: none.",
    )
    max_backoff_s: float = Field(60.0, ge=0, description="Longest such wait (seconds).")

    @property
    def min_workers(self) -> int:
        """Fewest workers that it trains with (count)."""
        return self.num_workers if isinstance(self.num_workers, int) else self.num_workers[0]

    @property
    def max_workers(self) -> int:
        """Most workers that it trains with (count)."""
        return self.num_workers if isinstance(self.num_workers, int) else self.num_workers[1]

    @property
    def is_elastic(self) -> bool:
        """Whether it follows what the cluster has room for."""
        return self.min_workers < self.max_workers


class Checkpoint(Section):
    """When a run saves what it needs to go on, and where."""

    storage_path: str = Field(
        "runs",
        min_length=1,
        description="Where all runs are, with checkpoints, logs and files: a folder that all nodes share, or "
        "object storage such as s3://bucket/runs, with which nodes need to share nothing.",
    )
    every_epochs: int = Field(
        1, ge=1, description="A checkpoint after so many turns of the outer loop (epochs)."
    )
    every_steps: int = Field(
        0, ge=0, description="A checkpoint after so many optimizer steps (count); 0: not by steps."
    )
    every_s: float = Field(
        300.0, ge=0, description="A checkpoint after so much time (seconds); 0: not by the clock."
    )
    retry_s: float = Field(
        120.0,
        ge=0,
        description="How long storage at a URL is tried again while it does not answer (seconds); then the "
        "attempt fails, and the next goes on from the last checkpoint.",
    )
    keep: int = Field(2, ge=1, description="Newest checkpoints that are kept (count).")
    best_metric: str = Field(
        "",
        description="Metric whose best checkpoint is kept too and logged as the model; may be empty.",
    )
    best_mode: Literal["min", "max"] = Field(
        "min", description="Whether a smaller or a larger best_metric is better."
    )


class Tracking(Section):
    """What goes to MLflow, and where MLflow is."""

    uri: str = Field(
        "",
        description="MLflow tracking URI; empty: $MLFLOW_TRACKING_URI, else a SQLite file under "
        "checkpoint.storage_path.",
    )
    username: str = Field("", description="User of an MLflow server that wants a password.")
    password_file: str = Field(
        "",
        description="File with the password of tracking.username, on the machine that talks to MLflow; "
        "empty: what MLFLOW_TRACKING_PASSWORD says.",
    )
    experiment: str = Field("", description="MLflow experiment; empty: the project's name.")
    run_name: str = Field("", description="Name of the run; empty: one is made from the time.")
    flush_every_s: float = Field(
        2.0, gt=0, description="Longest time that a metric waits before it is sent (seconds)."
    )
    system_metrics_every_s: float = Field(
        5.0, ge=0, description="Sampling of CPU, memory, disk and GPU (seconds); 0 turns it off."
    )
    retry_s: float = Field(
        120.0,
        ge=0,
        description="How long metrics are held back and tried again while MLflow does not answer "
        "(seconds); then the run stops at its last checkpoint.",
    )
    row_every_steps: int = Field(
        100, ge=1, description="Turns of a run.steps loop that share a row of the table (count)."
    )
    log_model: bool = Field(
        True, description="Whether the best model is logged as an MLflow model at the end."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO",
        description="Least level of what goes to the run's logs/*.jsonl; printed lines are INFO.",
    )


class Cluster(Section):
    """Which Ray cluster a run uses and how long it is waited for."""

    address: str = Field(
        "",
        description="Ray address; empty: $RAY_ADDRESS, else the head that runs on this machine, "
        "else one is started for the run.",
    )
    connect_timeout_s: float = Field(
        30.0, gt=0, description="Longest wait for the cluster to answer (seconds)."
    )


class Settings(BaseSettings):
    """Base of every project's settings; a subclass adds the project's own fields."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_DELIMITER,
        protected_namespaces=(),
        nested_model_default_partial_update=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read nothing but the arguments; `config.loading` reads the other sources, once.

        A worker rebuilds the driver's settings, whatever its own machine has in the environment.
        """
        return (init_settings,)

    def as_namespace(self) -> SimpleNamespace:
        """Return the project's own settings as an object that a program may change.

        The sections are left out: what they hold is the run's. The settings themselves stay as they are.
        """
        own = type(self).model_fields.keys() - Settings.model_fields.keys()
        return SimpleNamespace(
            **{name: getattr(self, name) for name in type(self).model_fields if name in own}
        )

    scaling: Scaling = Field(Scaling(), description=Scaling.__doc__)
    data: Data = Field(Data(), description=Data.__doc__)
    checkpoint: Checkpoint = Field(Checkpoint(), description=Checkpoint.__doc__)
    tracking: Tracking = Field(Tracking(), description=Tracking.__doc__)
    tuning: Tuning = Field(Tuning(), description=Tuning.__doc__)
    cluster: Cluster = Field(Cluster(), description=Cluster.__doc__)
    preparation: Preparation = Field(Preparation(), description=Preparation.__doc__)
    checks: Checks = Field(Checks(), description=Checks.__doc__)
    evaluation: Evaluation = Field(Evaluation(), description=Evaluation.__doc__)
    registry: Registry = Field(Registry(), description=Registry.__doc__)
    deploy: Deploy = Field(Deploy(), description=Deploy.__doc__)


SECTIONS = tuple(Settings.model_fields)


def of_trials(settings: Settings) -> Settings:
    """Return the settings that trials start from: with as many workers as `tuning.workers_per_trial` says.

    Of a range of workers, trials have the fewest.
    """
    num = settings.tuning.workers_per_trial or settings.scaling.min_workers
    return settings.model_copy(update={"scaling": settings.scaling.model_copy(update={"num_workers": num})})
