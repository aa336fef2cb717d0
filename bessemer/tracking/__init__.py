"""What goes to MLflow. The only package that imports mlflow.

One training run is one MLflow run, however often its workers die: the driver creates it with
`open_run`, the main worker writes to it by id through a `MetricWriter`, and the driver closes it.
"""

from bessemer.tracking.models import log_model
from bessemer.tracking.page import serve_page, server_command
from bessemer.tracking.runs import (
    Status,
    TrackedRun,
    close_run,
    log_metrics,
    logged_points,
    open_run,
    reopen_run,
)
from bessemer.tracking.store import ARTIFACTS_NAME, DATABASE_NAME, check_store, tracking_uri, without_password
from bessemer.tracking.validation import log_validation
from bessemer.tracking.writer import MetricWriter

__all__ = [
    "ARTIFACTS_NAME",
    "DATABASE_NAME",
    "MetricWriter",
    "Status",
    "TrackedRun",
    "check_store",
    "close_run",
    "log_metrics",
    "log_model",
    "log_validation",
    "logged_points",
    "open_run",
    "reopen_run",
    "serve_page",
    "server_command",
    "tracking_uri",
    "without_password",
]
