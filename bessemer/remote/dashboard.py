"""What a cluster says of itself over its dashboard: versions and nodes, without joining it.

The addresses are those of Ray 2.60 (ray/dashboard/modules: version, reporter, state).
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from bessemer.errors import ClusterError
from bessemer.remote.named import Target
from bessemer.training.placement import Node

_UNAUTHORIZED = (401, 403)
# Ray lists 100 unless asked for more, those that died among them; it gives 10,000 at most
# (ray/util/state/common.py).
_NODES = "/api/v0/nodes?limit=10000&filter_keys=state&filter_predicates=%3D&filter_values=ALIVE"


@dataclass(frozen=True)
class Facts:
    """A cluster, as it is now.

    Attributes:
        ray: its version of Ray.
        python: its version of Python.
        nodes: what its live nodes have.
    """

    ray: str
    python: str
    nodes: tuple[Node, ...]


def ask(target: Target, timeout_s: float) -> Facts:
    """Ask a cluster for its versions and nodes.

    Raises:
        ClusterError: it does not answer, wants another token, or is no Ray cluster.
    """
    versions = _get(target, "/api/v0/cluster_metadata", timeout_s)
    nodes = _get(target, _NODES, timeout_s)
    try:
        alive = [x["resources_total"] for x in nodes["result"]["result"] if x["state"] == "ALIVE"]
        return Facts(
            ray=str(versions["rayVersion"]),
            python=str(versions["pythonVersion"]),
            nodes=tuple(Node(float(x.get("CPU", 0)), float(x.get("GPU", 0))) for x in alive),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise _no_cluster(target, "does not say what it has as Ray does") from error


def headers_of(target: Target) -> dict[str, str]:
    """Return what a request says to be let in."""
    return {"Authorization": f"Bearer {target.token}"} if target.token else {}


def _get(target: Target, path: str, timeout_s: float) -> Any:
    request = urllib.request.Request(target.address + path, headers=headers_of(target))
    try:
        # The scheme is http or https: `find_target` takes no other.
        with urllib.request.urlopen(request, timeout=timeout_s) as response:  # nosec B310
            return json.load(response)["data"]
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in _UNAUTHORIZED:
            raise refused(target) from error
        raise _no_cluster(target, f"answers {error.code} to {path}") from error
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise ClusterError(
            f"no cluster answers at {target.address} ({target.name}): {reason}",
            expected="the dashboard of a running cluster",
            todo="`make deploy` starts the cluster compose; of others, look at their address",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise _no_cluster(target, f"does not answer {path} as Ray does") from error


def refused(target: Target) -> ClusterError:
    """Return what a user is told whose token the cluster does not take."""
    given = "a wrong token was given" if target.token else "no token was given"
    return ClusterError(
        f"the cluster {target.name} at {target.address} refuses this user: {given}",
        expected="the token that it was started with",
        todo="set token_file of the cluster in settings.toml, or RAY_AUTH_TOKEN_PATH",
    )


def _no_cluster(target: Target, what: str) -> ClusterError:
    return ClusterError(
        f"{target.address} is no Ray cluster of this version: it {what}",
        expected="the address of a Ray dashboard, such as http://127.0.0.1:8265",
        todo="correct the address of the cluster",
    )
