"""The MLflow page of a store, served on this machine."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from pathlib import Path

from bessemer.errors import TrackingError
from bessemer.tracking.store import ARTIFACTS_NAME, client_of, errors_named

# The page opens with figures of language models, unless its address asks for those of training.
_OF_TRAINING = "?workflowType=machine_learning"
_NUM_SHOWN = 10


def links_to_experiments(uri: str, port: int) -> dict[str, str]:
    """Return where the page of a store shows the runs of its experiments, by name, the newest first.

    Raises:
        TrackingError: the store cannot be read.
    """
    with errors_named(uri):
        found = client_of(uri).search_experiments(
            filter_string="name != 'Default'", order_by=["last_update_time DESC"], max_results=_NUM_SHOWN
        )
    return {
        each.name: f"http://127.0.0.1:{port}/#/experiments/{each.experiment_id}/runs{_OF_TRAINING}"
        for each in found
    }


def check_page(uri: str, port: int) -> None:
    """Refuse to serve a page that could not be.

    Raises:
        TrackingError: nothing was recorded yet, or the port is taken.
    """
    if uri.startswith("sqlite:") and not Path(uri.removeprefix("sqlite:///")).exists():
        raise TrackingError(
            f"there is no tracking store {uri}",
            expected="a store that a run was recorded in",
            todo="train first, or name the folder of the runs with --storage",
        )
    with contextlib.closing(socket.socket()) as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise TrackingError(
                f"port {port} of this machine is taken",
                expected="a free port",
                todo=f"choose another: --port {port + 1}",
            )


def serve_page(uri: str, storage_path: Path, port: int) -> int:
    """Serve the MLflow page on this machine until Ctrl-C; returns its exit status."""
    return subprocess.call(server_command(uri, storage_path, port))


def server_command(uri: str, storage_path: Path, port: int) -> list[str]:
    """Return the command that serves a store on this machine."""
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    artifacts = (storage_path / ARTIFACTS_NAME).absolute().as_uri()
    return [*command, "--default-artifact-root", artifacts]
