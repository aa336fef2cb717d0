"""The cluster files of a project: what `bessemer cluster render --project` would write for it."""

from __future__ import annotations

import tomllib

from pydantic import ValidationError

from bessemer.config.settings import Settings
from bessemer.conversion.plan import Plan
from bessemer.conversion.wishes import FILE, Wishes
from bessemer.deployment.rendering import render
from bessemer.deployment.versions import ray_version
from bessemer.errors import ConversionError

_SECTIONS = ("scaling", "checkpoint", "tracking", "deploy")


def cluster_files(name: str, plan: Plan, wishes: Wishes, lock: str) -> dict[str, str]:
    """Return the text of those cluster files that can be made, by path.

    Args:
        name: of the project.
        plan: says how many workers train, unless the researcher does.
        wishes: sections of settings that the researcher gave.
        lock: text of the project's `requirements.lock`.

    Raises:
        ConversionError: a wish is no value of its setting.
        DeploymentError: the wishes contradict each other.
    """
    wished = tomllib.loads(wishes.text)
    values = {section: wished[section] for section in _SECTIONS if section in wished}
    try:
        settings = Settings(**{"scaling": {"num_workers": plan.num_workers}, **values})
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise ConversionError(f"{FILE} has {place} = {problem['input']!r}", problem["msg"]) from None
    return render(settings, ray_version(lock), name).files
