"""What the images are called."""

from __future__ import annotations

import re

from bessemer.config.settings import Settings

OWN_NAME = "bessemer"


def distribution_name(project: str) -> str:
    """Return a project's name as images, clusters and packages are called.

    >>> distribution_name("hand_written Digits")
    'hand-written-digits'
    """
    return re.sub(r"[^a-z0-9]+", "-", project.lower()).strip("-") or OWN_NAME


def image_name(settings: Settings, project: str = "", target: str = "runtime") -> str:
    """Return name and tag of an image.

    Args:
        settings: `deploy.image` names it, if it does.
        project: whose image; empty for Bessemer itself.
        target: stage of the Dockerfile; others than `runtime` have a tag that begins with it.
    """
    name = settings.deploy.image or f"{distribution_name(project or OWN_NAME)}:latest"
    base, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        base, tag = name, "latest"
    return f"{base}:{tag}" if target == "runtime" else f"{base}:{target}-{tag}"
