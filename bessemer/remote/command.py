"""`bessemer submit`: looks at the cluster, packs the project, sends it with its order."""

from __future__ import annotations

import platform
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from bessemer.config.loading import LoadedSettings
from bessemer.config.project import Project
from bessemer.config.settings import of_trials
from bessemer.remote.dashboard import ask
from bessemer.remote.jobs import Jobs
from bessemer.remote.named import Target, find_target
from bessemer.remote.packing import pack
from bessemer.remote.preflight import check_room, check_versions
from bessemer.remote.submission import (
    COMMAND,
    JOB_FILE,
    Order,
    fingerprint,
    given_settings,
    job_name,
    pinned,
    requirements,
)

_CONFIG = "bessemer-job.toml"


@dataclass(frozen=True)
class Submission:
    """A job that was sent.

    Attributes:
        name: of the job.
        run: of the run that it trains or goes on with, if that is known.
        target: the cluster.
        num_bytes: what was sent.
        jobs: those of the cluster, to follow it.
    """

    name: str
    run: str
    target: Target
    num_bytes: int
    jobs: Jobs


def submit(
    project: Project,
    loaded: LoadedSettings,
    verb: str,
    options: Sequence[str],
    config: Path | None,
    cluster: str,
    environment: Mapping[str, str],
) -> Submission:
    """Send a verb of a project to a cluster, once all that can be seen from here is as it must be.

    Args:
        project: what is sent.
        loaded: its settings, as they were given here.
        verb: train, tune or evaluate.
        options: of the verb.
        config: settings file in place of the project's own.
        cluster: which one.
        environment: variables of this process.

    Raises:
        ClusterError: the cluster is not there, lets nobody in, or has other versions.
        PlacementError: the workers do not fit on its nodes.
        ProjectError: the project is too large to be sent.
    """
    settings = loaded.settings
    target = find_target(settings.deploy, cluster, environment, Path.cwd(), project.root)
    facts = ask(target, settings.cluster.connect_timeout_s)
    check_versions(target, facts, version("ray"), platform.python_version())
    check_room(target, facts, of_trials(settings) if verb == "tune" else settings)
    lock_file = project.root / "requirements.lock"
    lock = lock_file.read_text(encoding="utf-8") if lock_file.is_file() else ""
    name = job_name(project.name, verb)
    given = given_settings(loaded)
    if verb == "train" and "--resume" not in options:
        # Known before it begins, so that whoever submits it can go on with it.
        given["tracking.run_name"] = settings.tracking.run_name or name
    run = options[list(options).index("--resume") + 1] if "--resume" in options else ""
    with tempfile.TemporaryDirectory(prefix="bessemer-job-") as temporary:
        folder = Path(temporary) / project.root.name
        folder.mkdir()
        num_bytes = pack(project.root, folder)
        if config is not None:
            shutil.copyfile(config, folder / _CONFIG)
        order = Order(
            verb=verb,
            options=list(options),
            settings=given,
            config=_CONFIG if config is not None else "",
            pins={} if target.installs else pinned(lock),
            bessemer=fingerprint(Path(__file__).resolve().parents[1]),
        )
        (folder / JOB_FILE).write_text(order.to_json(), encoding="utf-8")
        wheels = [path.name for path in sorted((folder / "wheels").glob("*.whl"))]
        jobs = Jobs(target, settings.cluster.connect_timeout_s)
        run = str(given.get("tracking.run_name", run))
        # Options may have secrets in them.
        shown = {"project": project.name, "verb": verb, "run": run}
        packages = requirements(lock, wheels) if target.installs else None
        jobs.submit(name, COMMAND, folder, shown, {}, packages)
    return Submission(name, run, target, num_bytes, jobs)
