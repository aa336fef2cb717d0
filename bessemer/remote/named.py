"""Which cluster a user means: one of the settings by its name, that of Docker Compose, or an address."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bessemer.config.deploy_settings import Deploy
from bessemer.deployment.compose import SECRETS_HERE
from bessemer.errors import ClusterError, nearest

COMPOSE = "compose"
# Where Ray's own commands look for a dashboard.
_ADDRESS_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")


@dataclass(frozen=True)
class Target:
    """A cluster that is spoken to through its dashboard.

    Attributes:
        name: what the user calls it.
        address: of the dashboard, such as http://127.0.0.1:8265.
        token: what it wants to see, or "" if nothing; never shown.
        installs: whether a job's packages are installed for it, from requirements.lock.
    """

    name: str
    address: str
    token: str
    installs: bool = False

    def __repr__(self) -> str:
        return f"Target({self.name!r}, {self.address!r})"


def find_target(
    deploy: Deploy, name: str, environment: Mapping[str, str], here: Path, root: Path | None = None
) -> Target:
    """Return the cluster of a name.

    Args:
        deploy: knows clusters by name.
        name: one of these, `compose`, an address that begins with http, or "" for what the environment or
            the settings name, if that is one.
        environment: may have address and token, in Ray's variables.
        here: folder that relative paths start from.
        root: of the project, which `compose` was started for if `here` has none of its secrets.

    Raises:
        ClusterError: there is no such cluster, or its token cannot be read.
    """
    known = {cluster: settings.address for cluster, settings in deploy.clusters.items()}
    known.setdefault(COMPOSE, f"http://127.0.0.1:{deploy.dashboard_port}")
    asked = next(
        (environment[x] for x in _ADDRESS_VARIABLES if environment.get(x, "").startswith("http")), ""
    )
    if not name:
        # What the settings name, if it is one; compose is there anyway.
        name = asked or (next(iter(deploy.clusters)) if len(deploy.clusters) == 1 else COMPOSE)
    if name.startswith(("http://", "https://")):
        return Target(name, name.rstrip("/"), _token("", environment, here))
    if name not in known:
        raise ClusterError(
            f"there is no cluster {name!r}",
            expected=nearest(name, known) or f"one of {', '.join(sorted(known))}, or http://host:port",
            todo="name it in settings.toml: [deploy.clusters.NAME] with its address",
        )
    address = known[name]
    if not address.startswith(("http://", "https://")):
        raise ClusterError(
            f"the address {address!r} of cluster {name} is not that of a dashboard",
            expected="http://host:port of its dashboard, where jobs are submitted",
        )
    settings = deploy.clusters.get(name)
    file = settings.token_file if settings else str(SECRETS_HERE / "ray_token")
    if not settings and root is not None and not (here / file).is_file() and (root / file).is_file():
        here = root
    installs = settings is not None and settings.packages == "lock"
    return Target(name, address.rstrip("/"), _token(file, environment, here), installs)


def _token(file: str, environment: Mapping[str, str], here: Path) -> str:
    if not file:
        if environment.get("RAY_AUTH_TOKEN"):
            return environment["RAY_AUTH_TOKEN"]
        file = environment.get("RAY_AUTH_TOKEN_PATH", "")
    if not file:
        return ""
    path = here / Path(os.path.expanduser(file))
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ClusterError(
            f"the file {path} with the cluster's token cannot be read: {error.strerror}",
            expected="the token that the cluster was started with",
            todo="`make deploy` makes that of compose; of others, correct token_file",
        ) from error
