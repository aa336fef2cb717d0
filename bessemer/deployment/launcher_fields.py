"""The fields of the Ray cluster launcher that rendered files have, as `ray up` reads them."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict
from pydantic.alias_generators import to_pascal

from bessemer.deployment.fields import Fields


class Login(Fields):
    """How the launcher gets into machines."""

    ssh_user: str


class Docker(Fields):
    """The container that everything runs in, one on each machine."""

    image: str
    container_name: str
    # Otherwise an image is pulled only where a machine does not have it.
    pull_before_run: bool
    run_options: list[str]
    disable_shm_size_detection: bool = True


class LocalProvider(Fields):
    """Machines that there are."""

    type: Literal["local"] = "local"
    head_ip: str
    worker_ips: list[str]


class AwsProvider(Fields):
    """Machines that AWS lends."""

    type: Literal["aws"] = "aws"
    region: str
    cache_stopped_nodes: bool = False


class AwsFields(Fields):
    """A part of what AWS is asked, whose names are `WrittenLikeThis`."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_pascal, populate_by_name=True)


class Disk(AwsFields):
    """Size and kind of a disk."""

    volume_size: int
    volume_type: Literal["gp3"] = "gp3"


class DiskMapping(AwsFields):
    """Where a disk is attached."""

    device_name: Literal["/dev/sda1"] = "/dev/sda1"
    ebs: Disk


class SpotOptions(AwsFields):
    """What is done with a machine that is taken away."""

    spot_instance_type: Literal["one-time"] = "one-time"
    instance_interruption_behavior: Literal["terminate"] = "terminate"


class Market(AwsFields):
    """How a machine is paid for."""

    market_type: Literal["spot"] = "spot"
    spot_options: SpotOptions = SpotOptions()


class Instance(AwsFields):
    """What machine is asked for."""

    instance_type: str
    image_id: str | None = None
    block_device_mappings: list[DiskMapping]
    instance_market_options: Market | None = None


class NodeType(Fields):
    """Nodes of one kind, and what Ray finds on each."""

    resources: dict[str, int]
    min_workers: int
    max_workers: int
    node_config: Instance


class Launched(Fields):
    """A cluster for `ray up`."""

    cluster_name: str
    provider: LocalProvider | AwsProvider
    auth: Login
    max_workers: int
    idle_timeout_minutes: float
    docker: Docker
    available_node_types: dict[str, NodeType] | None = None
    head_node_type: str | None = None
    file_mounts: dict[str, str]
    initialization_commands: list[str]
    head_start_ray_commands: list[str]
    worker_start_ray_commands: list[str]
