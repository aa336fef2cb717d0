"""What the runs of a cluster of containers have left: in a volume, or in a bucket."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from bessemer.drill.docker import docker
from bessemer.drill.training import step_of
from bessemer.training.folders import CHECKPOINTS_FOLDER
from bessemer.training.objects import Objects

_MANIFEST = "manifest.json"


class Kept(Protocol):
    """Where the runs of a cluster are."""

    @property
    def storage(self) -> str:
        """What `checkpoint.storage_path` is in the containers."""

    def newest_step(self, run_dir: str) -> int:
        """Return the step of the newest complete checkpoint of a run, or 0."""

    def fetch(self, run_dir: str, target: Path) -> None:
        """Copy the folder of a run to this machine."""


class InVolume:
    """Runs in a volume that all containers mount.

    Args:
        storage: where it is mounted.
        container: id of one that has it, also when it is not running.
    """

    def __init__(self, storage: str, container: str) -> None:
        self.storage, self._container = storage, container

    def newest_step(self, run_dir: str) -> int:
        """Return the step of the newest complete checkpoint of a run, or 0."""
        folder = f"{run_dir}/{CHECKPOINTS_FOLDER}"
        script = f'for f in "{folder}"/step-*/{_MANIFEST}; do [ -f "$f" ] && dirname "$f"; done'
        listed = docker("exec", self._container, "sh", "-c", script, check=False)
        return max((step_of(Path(line)) for line in listed.split() if "step-" in line), default=0)

    def fetch(self, run_dir: str, target: Path) -> None:
        """Copy the folder of a run to this machine.

        Raises:
            DrillError: it is not there.
        """
        docker("cp", f"{self._container}:{run_dir}", str(target))


class InBucket:
    """Runs at a URL of object storage, which this process reaches too, as its environment says.

    Args:
        storage: the URL.
    """

    def __init__(self, storage: str) -> None:
        self.storage = storage

    def newest_step(self, run_dir: str) -> int:
        """Return the step of the newest complete checkpoint of a run, or 0."""
        names = Objects(f"{run_dir}/{CHECKPOINTS_FOLDER}").list()
        whole = (Path(name).parent for name in names if Path(name).name == _MANIFEST)
        return max(map(step_of, whole), default=0)

    def fetch(self, run_dir: str, target: Path) -> None:
        """Copy the objects of a run to this machine."""
        objects = Objects(run_dir)
        for name in objects.list():
            content = objects.read(name)
            if content is not None:
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                (target / name).write_bytes(content)
