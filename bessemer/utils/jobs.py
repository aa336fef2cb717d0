"""Whether this process is the driver of a Ray job."""

from __future__ import annotations

import os

# Ray sets it for the driver of a job (ray/dashboard/modules/job/job_supervisor.py).
_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"


def is_job() -> bool:
    """Say whether this process was started as a Ray job: in an uploaded folder, on a node of the cluster."""
    return _VARIABLE in os.environ
