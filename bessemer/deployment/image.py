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


def image_name(settings: Settings, project: str = "") -> str:
    """Return the name and tag of the image that clusters run.

    Args:
        settings: `deploy.image` of these, if it is given.
        project: whose image it is; empty: that of the repository.

    >>> image_name(Settings(), "Hand-written digits")
    'hand-written-digits:latest'
    """
    return settings.deploy.image or f"{resource_name(project)}:latest"


def resource_name(project: str = "") -> str:
    """Return a project's name as images, clusters and what Kubernetes holds can be called.

    It has small letters, digits and single dashes, at most 40 characters, and begins with a letter.

    >>> resource_name("2D_spirals!")
    'p-2d-spirals'
    """
    plain = re.sub(r"[^a-z0-9]+", "-", project.lower()).strip("-") or _REPOSITORY
    return (plain if plain[0].isalpha() else f"p-{plain}")[:_MAX_NAME].rstrip("-")
