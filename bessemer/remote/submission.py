"""A command of a project, made into a job: what travels, what it is told, and what it checks when it begins.

The settings that were given where it was submitted travel as JSON in a file of the job, not in its command
line or its environment, which the dashboard and `ps` show. There they stand above all that the
cluster's own environment says, as they did here.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bessemer.config.loading import LoadedSettings, value_at
from bessemer.errors import ClusterError, ProjectError
from bessemer.remote.packing import files_of

JOB_FILE = "bessemer-job.json"
# All that `ps` and the dashboard show; what it does is in its file.
COMMAND = "exec python -m bessemer job"
VERBS = ("train", "tune", "evaluate")
# Of this machine and not of the cluster, unless they were typed for it.
_LOCAL = (
    *("checkpoint.storage_path", "cluster.address"),
    *("tracking.uri", "tracking.username", "tracking.password_file"),
)
_SHOWN = 4


@dataclass(frozen=True)
class Order:
    """What a job does.

    Attributes:
        verb: train, tune or evaluate.
        options: of the verb, as on the command line.
        settings: by dotted name; the highest in rank.
        config: settings file in the job's folder, or "".
        pins: distributions that must be there, by name: their versions.
        bessemer: fingerprint of the Bessemer that made it.
    """

    verb: str
    options: list[str]
    settings: dict[str, Any]
    config: str
    pins: dict[str, str]
    bessemer: str

    def to_json(self) -> str:
        """Return the text of the job's file."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    def arguments(self) -> list[str]:
        """Return the command line of Bessemer that it stands for."""
        line = [self.verb, "--project", ".", *self.options]
        if self.config:
            line += ["--config", self.config]
        return [*line, *(f"--{_flag(name)}={_as_text(value)}" for name, value in self.settings.items())]


def read_order(folder: Path) -> Order:
    """Read what the job in a folder does.

    Raises:
        ProjectError: the folder is not one that was submitted.
    """
    try:
        return Order(**json.loads((folder / JOB_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ProjectError(
            f"{folder / JOB_FILE} cannot be read: {error}", expected="a folder of `bessemer submit`"
        ) from error


def given_settings(loaded: LoadedSettings) -> dict[str, Any]:
    """Return what a user gave beside the settings file, by dotted name, ready for JSON.

    What the environment of this machine says of its own folders and addresses is left out.
    """
    given = {}
    for dotted, origin in loaded.origins.items():
        typed = origin in ("command line", "research arguments")
        if typed or (origin == "environment" and dotted not in _LOCAL):
            given[dotted] = value_at(loaded.settings, dotted)
    plain = loaded.settings.model_dump(mode="json")
    return {dotted: _within(plain, dotted) for dotted in given}


def job_name(project: str, verb: str) -> str:
    """Return a submission id that nobody has: project, verb, time, four random digits."""
    stem = "".join(c if c.isalnum() or c in "_-" else "-" for c in project)
    return f"{stem}-{verb}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def pinned(lock: str) -> dict[str, str]:
    """Return the versions that a lock file pins, by distribution.

    >>> pinned("torch==2.13.0  # via x\\n# a comment\\n")
    {'torch': '2.13.0'}
    """
    lines = (line.partition("#")[0].strip() for line in lock.splitlines())
    return dict(line.split("==", 1) for line in lines if "==" in line)


def check_pins(pins: Mapping[str, str]) -> None:
    """See that the distributions of a lock file are installed where this runs, in these versions.

    Raises:
        ClusterError: some are not; the first ones are named.
    """
    wrong = []
    for name, wanted in pins.items():
        try:
            found = version(name).partition("+")[0]
        except PackageNotFoundError:
            found = "none"
        if found != wanted.partition("+")[0]:
            wrong.append(f"{name} {found} instead of {wanted}")
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise ClusterError(
            f"the cluster's image does not have what requirements.lock pins: "
            f"{', '.join(wrong[:_SHOWN])}{more}",
            expected="an image that was built from this lock file",
            todo='build it again (`make build deploy`), or set packages = "lock" for the cluster',
        )


def fingerprint(package: Path) -> str:
    """Return a hash of a package's files and their names."""
    found = hashlib.sha256()
    for path in files_of(package):
        found.update(f"{path.relative_to(package).as_posix()}\0{path.stat().st_size}\0".encode())
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def check_bessemer(order: Order, package: Path) -> None:
    """See that the cluster's Bessemer is the one that the job was made by.

    Raises:
        ClusterError: it is another one.
    """
    found = fingerprint(package)
    if found != order.bessemer:
        raise ClusterError(
            f"the cluster's image has another Bessemer ({found}) than the job was submitted with "
            f"({order.bessemer})",
            expected="the same on both sides: numbers are promised for one version",
            todo="build the image again and start the cluster with it: `make build deploy`",
        )


def requirements(lock: str, wheels: Iterable[str]) -> list[str]:
    """Return what Ray installs for a job whose packages do not come with the image.

    Args:
        lock: text of requirements.lock.
        wheels: names of the wheels in the job's folder `wheels`, which no index has.
    """
    own = [f"${{RAY_RUNTIME_ENV_CREATE_WORKING_DIR}}/wheels/{name}" for name in wheels]
    return [*(f"{name}=={pin}" for name, pin in pinned(lock).items() if name != "bessemer"), *own]


def _within(tree: Mapping[str, Any], dotted: str) -> Any:
    value: Any = tree
    for part in dotted.split("."):
        value = value[part]
    return value


def _flag(dotted: str) -> str:
    return dotted.replace("_", "-")


def _as_text(value: Any) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)
