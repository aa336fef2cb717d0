"""Asks a Ray head what its cluster has, and prints it as JSON: a process of its own, which may be killed.

`python -m bessemer.observation.cluster_probe HOST:PORT`. It reads the head's tables, as `ray status` does,
and joins nothing. The only module that uses `GlobalState` (internal) and the job client outside of a job;
`tests/integration/test_observation.py` says when they change.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import Any

_MOST_JOBS = 20
_SHOWN = ("CPU", "GPU", "memory", "object_store_memory")


def probe(address: str) -> None:
    """Print what the cluster has, and then its jobs if the head has a dashboard."""
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    from ray._private.state import GlobalState
    from ray._raylet import GcsClientOptions  # type: ignore[attr-defined]

    state = GlobalState()
    options = GcsClientOptions.create(address, None, allow_cluster_id_nil=True, fetch_cluster_id_if_nil=False)
    state._initialize_global_state(options)
    nodes = [node for node in state.node_table() if node["Alive"]]
    total, free = state.cluster_resources(), state.available_resources()
    _print(
        nodes=len(nodes),
        total={name: total.get(name, 0.0) for name in _SHOWN},
        free={name: free.get(name, 0.0) for name in _SHOWN},
    )
    with contextlib.suppress(Exception):  # no dashboard
        _print(jobs=_jobs(address))


def _jobs(address: str) -> list[dict[str, Any]]:
    from ray.job_submission import JobSubmissionClient

    jobs = [job for job in JobSubmissionClient(address).list_jobs() if job.submission_id]
    jobs.sort(key=lambda job: job.start_time or 0, reverse=True)
    return [
        {"id": job.submission_id, "status": str(job.status), "command": job.entrypoint}
        for job in jobs[:_MOST_JOBS]
    ]


def _print(**values: Any) -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    probe(sys.argv[1])
    # Ray's threads are not waited for.
    os._exit(0)
