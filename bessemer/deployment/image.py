"""What the image is called, and where things are inside it."""

from __future__ import annotations

import re

from bessemer.config.settings import Settings

WORK_FOLDER = "/app"
HOME = "/home/bessemer"
USER_ID = 1000
VENV_BIN = "/venv/bin"

_REPOSITORY = "bessemer"
# KubeRay adds up to 16 characters to the name of a job, and the least of all limits is 63.
_MAX_NAME = 40


def image_name(settings: Settings, project: str = "", target: str = "runtime") -> str:
    """Return the name and tag of an image; that of clusters unless another is asked for.

    Args:
        settings: `deploy.image` of these, if it is given.
        project: whose image it is; empty: that of the repository.
        target: stage of the Dockerfile; the tag of another than `runtime` begins with its name.

    >>> image_name(Settings(), "Hand-written digits")
    'hand-written-digits:latest'
    """
    name = settings.deploy.image or f"{resource_name(project)}:latest"
    base, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        base, tag = name, "latest"
    return f"{base}:{tag}" if target == "runtime" else f"{base}:{target}-{tag}"


def resource_name(project: str = "") -> str:
    """Return a project's name as images, clusters and what Kubernetes holds can be called.

    It has small letters, digits and single dashes, at most 40 characters, and begins with a letter.

    >>> resource_name("2D_spirals!")
    'p-2d-spirals'
    """
    plain = re.sub(r"[^a-z0-9]+", "-", project.lower()).strip("-") or _REPOSITORY
    return (plain if plain[0].isalpha() else f"p-{plain}")[:_MAX_NAME].rstrip("-")
