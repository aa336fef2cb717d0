"""What is done to the nodes of a cluster of containers while a job trains on them, one thing at a time.

Each trains a run to its end, on the cluster as it was left, and says what it cost. Like the disturbances of
one machine, one that did not really happen raises `MissedError`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from bessemer.drill.disturbances import Story
from bessemer.drill.docker import docker
from bessemer.drill.ground import Ground, resized
from bessemer.drill.moments import Moment
from bessemer.drill.submitted import Course, Submitted
from bessemer.drill.training import MissedError
from bessemer.remote.containers import scale

_NODE_AWAY_S = 5.0
# Longer than Ray waits before it takes a node that does not answer for dead (half a minute).
_CUT_FOR_S = 45.0
_MLFLOW_AWAY_S = 6.0
_HEAD_AWAY_S = 3.0
_COMPOSE_WITHIN_S = 180.0


@dataclass(frozen=True)
class Field:
    """Where a disturbance acts.

    Attributes:
        ground: the cluster.
        course: what all runs have in common.
        run: name for the run.
        num_workers: that train (count).
    """

    ground: Ground
    course: Course
    run: str
    num_workers: int

    @property
    def workers(self) -> tuple[str, ...]:
        """The settings that say so."""
        return ("--scaling.num-workers", str(self.num_workers))

    @property
    def num_nodes(self) -> int:
        """Nodes of the cluster beside its head (count)."""
        return self.ground.settings.deploy.worker_nodes


@dataclass(frozen=True)
class NodeDisturbance:
    """One way to disturb a run on several nodes.

    Attributes:
        name: on the command line and in the table.
        sentence: what it does.
        disturb: trains a run and strikes it at a moment.
    """

    name: str
    sentence: str
    disturb: Callable[[Field, Moment], Story]


def undisturbed(field: Field) -> Story:
    """Train a run that nothing happens to."""
    job = Submitted(field.ground, field.course, field.run, more=field.workers)
    job.succeed()
    return _story(job)


def node_kill(field: Field, moment: Moment) -> Story:
    """`docker kill` of a node whose worker is not rank 0; it comes back as a new node after some seconds."""
    job = Submitted(field.ground, field.course, field.run, more=field.workers)
    job.wait_until(moment)
    main = field.ground.node_of_rank(job.run_dir, 0)
    others = [x for x in field.ground.training_nodes() if x != main]
    return _killed(field, job, others[0] if others else "")


def main_node_kill(field: Field, moment: Moment) -> Story:
    """`docker kill` of the node with rank 0; it comes back as a new node after some seconds."""
    job = Submitted(field.ground, field.course, field.run, more=field.workers)
    job.wait_until(moment)
    return _killed(field, job, field.ground.node_of_rank(job.run_dir, 0))


def _killed(field: Field, job: Submitted, node: str) -> Story:
    if not node or job.job().has_ended:
        raise MissedError("the run was complete before its node was killed")
    docker("kill", node)
    time.sleep(_NODE_AWAY_S)
    docker("start", node)
    job.succeed()
    field.ground.wait_for_nodes(field.num_nodes)
    return _again(job, "the run was complete before its node was missed")


def network_cut(field: Field, moment: Moment) -> Story:
    """`docker network disconnect` of a node with a worker, longer than Ray waits for it, then `connect`."""
    job = Submitted(field.ground, field.course, field.run, more=field.workers)
    job.wait_until(moment)
    nodes = field.ground.training_nodes()
    if not nodes or job.job().has_ended:
        raise MissedError("the run was complete before its network was cut")
    network = f"{field.ground.cluster.name}_default"
    docker("network", "disconnect", network, nodes[-1])
    time.sleep(_CUT_FOR_S)
    docker("network", "connect", network, nodes[-1])
    job.succeed()
    # Ray has taken it for dead, so it ends, and Docker starts it as a new node.
    field.ground.wait_for_nodes(field.num_nodes)
    return _again(job, "the run was complete before the cut was noticed")


def mlflow_restart(field: Field, moment: Moment) -> Story:
    """Stop the MLflow container for some seconds while the run is recorded."""
    job = Submitted(field.ground, field.course, field.run, more=field.workers)
    job.wait_until(moment)
    server = field.ground.containers_of("mlflow")[0]
    docker("stop", "--time", "5", server)
    time.sleep(_MLFLOW_AWAY_S)
    ended = job.job().has_ended
    docker("start", server)
    if ended:
        raise MissedError("the run was complete before MLflow went away")
    job.succeed()
    return _story(job)


def head_kill(field: Field, moment: Moment) -> Story:
    """`docker kill` of the head and with it the driver; then the job is submitted again, with --resume."""
    job = Submitted(field.ground, field.course, field.run, more=field.workers)
    job.wait_until(moment)
    if job.job().has_ended:
        raise MissedError("the run was complete before its head was killed")
    story = _story(job)
    head = field.ground.head()
    docker("kill", head)
    time.sleep(_HEAD_AWAY_S)
    docker("start", head)
    # The nodes of the old head end as they miss it, and Docker starts them for the new one.
    field.ground.wait_for_nodes(field.num_nodes)
    again = Submitted(field.ground, field.course, field.run, resumes=True, more=field.workers)
    again.succeed()
    if not again.starts:
        raise MissedError("the run was complete before its head was killed")
    story.attempts += len(again.starts)
    return story


def node_joins(field: Field, moment: Moment) -> Story:
    """Begin with one node less than there could be; the last one joins and is used."""
    fewer, all_nodes = field.num_nodes - 1, field.num_nodes
    _scale(field.ground, fewer)
    elastic = ("--scaling.num-workers", f"[1,{all_nodes}]", "--scaling.resize-every-s", "3")
    job = Submitted(field.ground, field.course, field.run, more=elastic)
    job.wait_until(moment)
    _scale(field.ground, all_nodes)
    job.succeed()
    used = [line for line in job.lines if f"{all_nodes} x " in line or f"{all_nodes} workers" in line]
    if not used:
        raise MissedError("the run was complete before the node that joined was used")
    story = _again(job, "the run was complete before the node that joined was used")
    story.rescaled = True
    return story


def _scale(ground: Ground, num_nodes: int) -> None:
    """Start or remove containers until there are so many nodes."""
    scaled = resized(ground, num_nodes)
    scale(scaled.cluster, _COMPOSE_WITHIN_S)
    scaled.wait_for_nodes(num_nodes)


def _story(job: Submitted) -> Story:
    return Story(attempts=len(job.starts))


def _again(job: Submitted, missed: str) -> Story:
    """Return the story of a job that must have begun again."""
    starts = job.starts
    if len(starts) < 2:
        raise MissedError(missed)
    return Story(attempts=len(starts))


ON_NODES = (
    NodeDisturbance("node-kill", "the node of a worker is killed", node_kill),
    NodeDisturbance("main-node-kill", "the node of rank 0 is killed", main_node_kill),
    NodeDisturbance("network-cut", "a node is cut off, and comes back", network_cut),
    NodeDisturbance("mlflow-restart", "the MLflow container is restarted", mlflow_restart),
    NodeDisturbance("head-kill", "the head is killed, and the job submitted again", head_kill),
    NodeDisturbance("node-joins", "a node joins, and is used", node_joins),
)
