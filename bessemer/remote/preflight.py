"""Would a job run on that cluster? Pure comparisons, before anything is sent."""

from __future__ import annotations

from bessemer.config.settings import Settings
from bessemer.errors import ClusterError, PlacementError
from bessemer.remote.dashboard import Facts
from bessemer.remote.named import Target
from bessemer.training.placement import decide_placement


def check_versions(target: Target, facts: Facts, ray: str, python: str) -> None:
    """Compare versions: Ray's must be the same, Python's up to its second number.

    Args:
        target: the cluster.
        facts: what it says of itself.
        ray: the version that the project is locked to.
        python: the version here.

    Raises:
        ClusterError: they differ.
    """
    wrong = []
    if facts.ray != ray:
        wrong.append(f"Ray {facts.ray} instead of {ray}")
    if _minor(facts.python) != _minor(python):
        wrong.append(f"Python {facts.python} instead of {_minor(python)}")
    if wrong:
        raise ClusterError(
            f"the cluster {target.name} has {' and '.join(wrong)}",
            expected="the versions that the project was written and checked with",
            todo="build its image again (`make build deploy`), or use those versions here",
        )


def check_room(target: Target, facts: Facts, settings: Settings) -> None:
    """See that the workers of a run fit on the nodes that there are.

    Raises:
        PlacementError: they do not, even if the cluster were empty.
    """
    try:
        decide_placement(settings.scaling, settings.data, facts.nodes)
    except PlacementError as error:
        raise PlacementError(
            f"on the cluster {target.name}: {error.found}", expected=error.expected, todo=error.todo
        ) from error


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
