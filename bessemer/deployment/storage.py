"""Where runs are kept, as the containers of a cluster see it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from bessemer.config.settings import Settings
from bessemer.deployment.image import HOME, WORK_FOLDER
from bessemer.errors import DeploymentError

# Folders of the image: what is mounted over one would hide it.
_TAKEN = (
    WORK_FOLDER,
    f"{WORK_FOLDER}/projects",
    f"{WORK_FOLDER}/jobs",
    HOME,
    "/tmp",  # nosec B108  # is not written to from here
    "/dev/shm",  # nosec B108  # is not written to from here
    "/venv",
)


@dataclass(frozen=True)
class Storage:
    """The folder of all runs.

    Attributes:
        path: inside a container, or a URL.
        is_url: whether it is a URL, which needs no volume.
    """

    path: str
    is_url: bool


def storage_of(settings: Settings) -> Storage:
    """Return where containers find the runs; a relative folder is one of the image's working folder.

    Raises:
        DeploymentError: a path that no volume can be mounted at.
    """
    configured = settings.checkpoint.storage_path
    if "://" in configured:
        return Storage(configured, is_url=True)
    path = PurePosixPath(WORK_FOLDER) / configured
    covers = any(PurePosixPath(taken).is_relative_to(path) for taken in _TAKEN)
    if ".." in path.parts or configured.startswith("~") or covers:
        raise DeploymentError(
            f"checkpoint.storage_path = {configured}",
            expected="a folder of its own for a volume, such as runs or /runs, or a URL",
            todo="set checkpoint.storage_path",
        )
    return Storage(str(path), is_url=False)


def environment_of(settings: Settings, storage: Storage, tracking_uri: str = "") -> dict[str, str]:
    """Return the variables that every container of a cluster has; none of them is secret.

    Args:
        settings: of the run.
        storage: where runs are.
        tracking_uri: of MLflow, where the settings name none.

    Raises:
        DeploymentError: the address of MLflow has a password in it.
    """
    environment = {
        "BESSEMER_CHECKPOINT__STORAGE_PATH": storage.path,
        "PYTHONDONTWRITEBYTECODE": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    if uri := settings.tracking.uri or tracking_uri:
        if urlsplit(uri).password is not None:
            raise DeploymentError(
                "tracking.uri has a password in it",
                expected="an address without one, since rendered files are read by many",
                todo="give the password in a file of MLflow's, as docs/clusters.md says",
            )
        environment["BESSEMER_TRACKING__URI"] = uri
    return environment
