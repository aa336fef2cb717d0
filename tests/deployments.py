"""Cluster files as they come of settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from bessemer.config.loading import load_settings
from bessemer.config.settings import Settings
from bessemer.deployment.rendering import Rendered, render
from bessemer.errors import DeploymentError

VERSION = "2.60.0"
REPOSITORY = Path(__file__).resolve().parents[1]

Tree = dict[str, Any]

MACHINES = (
    *("--deploy.machines.head-ip", "192.0.2.10"),
    *("--deploy.machines.worker-ips", "192.0.2.11", "192.0.2.12", "192.0.2.13"),
    *("--deploy.machines.storage-path", "/srv/runs"),
)
EFS = ("--deploy.aws.file-system", "fs-0123abcd")
GPUS = ("--deploy.build", "cu128")
SPOT = ("--deploy.spot", "extra", "--deploy.max-worker-nodes", "5")


def settings_of(*arguments: str) -> Settings:
    return load_settings(Settings, arguments).settings


def rendered(*arguments: str, project: str = "digits", only: tuple[str, ...] = ()) -> Rendered:
    return render(settings_of(*arguments), VERSION, project, only)


def refused(*arguments: str, project: str = "digits", only: tuple[str, ...] = ()) -> DeploymentError:
    with pytest.raises(DeploymentError) as caught:
        rendered(*arguments, project=project, only=only)
    assert caught.value.expected
    assert caught.value.todo
    return caught.value


def trees_of(name: str, *arguments: str, project: str = "digits") -> list[Tree]:
    """The documents of one file."""
    text = rendered(*arguments, project=project, only=(name,)).files[f"cluster/{name}.yaml"]
    return list(yaml.safe_load_all(text))


def tree_of(name: str, *arguments: str, project: str = "digits") -> Tree:
    """The only document of one file."""
    (tree,) = trees_of(name, *arguments, project=project)
    return tree


def groups_of(cluster: Mapping[str, Any]) -> dict[str, Tree]:
    """The groups of workers of a RayCluster, or of the cluster of a RayJob, by name."""
    spec = cluster["spec"].get("rayClusterSpec", cluster["spec"])
    return {group["groupName"]: group for group in spec["workerGroupSpecs"]}


def container_of(group: Mapping[str, Any]) -> Tree:
    (container,) = group["template"]["spec"]["containers"]
    found: Tree = container
    return found
