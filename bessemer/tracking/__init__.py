"""What goes to MLflow. The only package that imports mlflow.

One training run is one MLflow run, however often its workers die: the driver creates it with
`open_run`, the main worker writes to it by id through a `MetricWriter`, and the driver closes it.
"""

from bessemer.tracking.models import LoggedModel, log_model
from bessemer.tracking.page import check_page, links_to_experiments, serve_page, server_command
from bessemer.tracking.registry import (
    Version,
    create_version,
    describe_version,
    find_version,
    move_alias,
    tag_version,
    versions,
    weights_of,
)
from bessemer.tracking.runs import (
    PendingRun,
    Status,
    TrackedRun,
    close_run,
    describe_run,
    log_folder,
    log_metrics,
    logged_points,
    num_runs_named,
    open_children,
    open_run,
    reopen_run,
    tags_of,
)
from bessemer.tracking.store import (
    ARTIFACTS_NAME,
    DATABASE_NAME,
    check_store,
    patiently,
    sign_in,
    tracking_uri,
    without_password,
)
from bessemer.tracking.validation import log_validation
from bessemer.tracking.writer import MetricWriter

__all__ = [
    "ARTIFACTS_NAME",
    "DATABASE_NAME",
    "LoggedModel",
    "MetricWriter",
    "PendingRun",
    "Status",
    "TrackedRun",
    "Version",
    "check_page",
    "check_store",
    "close_run",
    "create_version",
    "describe_run",
    "describe_version",
    "find_version",
    "links_to_experiments",
    "log_folder",
    "log_metrics",
    "log_model",
    "log_validation",
    "logged_points",
    "move_alias",
    "num_runs_named",
    "open_children",
    "open_run",
    "patiently",
    "reopen_run",
    "serve_page",
    "server_command",
    "sign_in",
    "tag_version",
    "tags_of",
    "tracking_uri",
    "versions",
    "weights_of",
    "without_password",
]
