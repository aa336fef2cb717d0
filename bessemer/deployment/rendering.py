"""All files of a project's image and clusters, by name; what cannot be made is left out, with the reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files

from bessemer.config.settings import Settings
from bessemer.deployment.compose import compose_text
from bessemer.deployment.containers import Site
from bessemer.deployment.image import resource_name
from bessemer.deployment.kuberay import cluster_file, job_file
from bessemer.deployment.launcher import aws_file, on_premises_file
from bessemer.deployment.mlflow_server import mlflow_file
from bessemer.deployment.nodes import plan_nodes
from bessemer.deployment.storage import environment_of, storage_of
from bessemer.deployment.volumes import storage_file
from bessemer.errors import DeploymentError, nearest

PATHS = {
    "dockerfile": "docker/Dockerfile",
    "docker-targets": "docker/docker.mk",
    "compose": "docker/compose.yaml",
    "on-premises": "cluster/on-premises.yaml",
    "aws": "cluster/aws.yaml",
    "storage": "cluster/storage.yaml",
    "mlflow": "cluster/mlflow.yaml",
    "raycluster": "cluster/raycluster.yaml",
    "rayjob": "cluster/rayjob.yaml",
}


@dataclass(frozen=True)
class Rendered:
    """What was rendered.

    Attributes:
        files: text by path, such as `cluster/aws.yaml`.
        left_out: by path, why there is no such file.
    """

    files: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def render(
    settings: Settings,
    ray_version: str,
    project: str = "",
    only: Sequence[str] = (),
    arguments: Sequence[str] = (),
) -> Rendered:
    """Render the files of a project's clusters.

    Args:
        settings: the project's.
        ray_version: of its image.
        project: its name; empty: the repository itself, whose image has many.
        only: names of files, as `PATHS` has them; none: all that can be made.
        arguments: settings that the job is to have, as on the command line.

    Raises:
        DeploymentError: the settings contradict each other, or a file that `only` names cannot be made.
    """
    for name in only:
        if name not in PATHS:
            raise DeploymentError(
                f"there is no cluster file {name}",
                expected=nearest(name, PATHS) or "one of those that there are",
                todo=f"choose of {', '.join(PATHS)}",
            )
    # What is wrong for every file is no reason to leave out one after the other.
    plan_nodes(settings)
    storage = storage_of(settings)
    environment_of(settings, storage)
    site = Site(settings, resource_name(project), project, storage)
    makers: dict[str, Callable[[], str]] = {
        "dockerfile": lambda: _same_for_all("Dockerfile"),
        "docker-targets": lambda: _same_for_all("docker.mk"),
        "compose": lambda: compose_text(settings, project),
        "on-premises": lambda: on_premises_file(settings, project),
        "aws": lambda: aws_file(settings, project),
        "storage": lambda: _storage(site),
        "mlflow": lambda: _mlflow(site),
        "raycluster": lambda: cluster_file(site, ray_version),
        "rayjob": lambda: _job(site, ray_version, arguments),
    }
    rendered = Rendered()
    for name in only or PATHS:
        path = PATHS[name]
        try:
            rendered.files[path] = makers[name]()
        except DeploymentError as error:
            if only:
                raise
            rendered.left_out[path] = f"{error.found}; {error.todo}"
    return rendered


def _same_for_all(name: str) -> str:
    """Return the text of a file that is the same for every project."""
    return (files("bessemer.deployment") / "files" / name).read_text(encoding="utf-8")


def _storage(site: Site) -> str:
    claim = site.settings.deploy.kubernetes.storage_claim
    if (site.storage.is_url or claim) and not site.mlflow:
        place = f"deploy.kubernetes.storage_claim = {claim}" if claim else "checkpoint.storage_path is a URL"
        raise DeploymentError(place, "storage that needs a claim", "nothing has to be done")
    return storage_file(site)


def _mlflow(site: Site) -> str:
    if not site.mlflow:
        raise DeploymentError(
            "deploy.kubernetes.mlflow = False", "an MLflow server that is wanted", "set it to true for one"
        )
    return mlflow_file(site)


def _job(site: Site, ray_version: str, arguments: Sequence[str]) -> str:
    project = site.project or site.settings.deploy.kubernetes.project
    if not project:
        raise DeploymentError(
            "no project to train is named", "a project of the image", "set deploy.kubernetes.project"
        )
    return job_file(site, ray_version, project, arguments)
