"""The files for Ray's cluster launcher are what `ray up` reads."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from deployments import EFS, GPUS, MACHINES, SPOT, Tree, refused, rendered, tree_of


def prepared(tree: Tree) -> Any:
    """The file as `ray up` has it after its own checks."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    full = prepare_config(copy.deepcopy(tree))
    validate_config(full)
    return full


def test_ray_takes_the_file_for_machines_that_there_are() -> None:
    full = prepared(tree_of("on-premises", *MACHINES))
    assert full["provider"]["head_ip"] == "192.0.2.10"
    (kind,) = full["available_node_types"].values()
    assert (kind["min_workers"], kind["max_workers"]) == (3, 3)


@pytest.mark.parametrize("arguments", [(), SPOT, GPUS, ("--deploy.spot", "all", *GPUS)])
def test_ray_takes_the_file_for_aws(arguments: tuple[str, ...]) -> None:
    full = prepared(tree_of("aws", *EFS, *arguments))
    kinds = full["available_node_types"]
    assert sum(kind["max_workers"] for kind in kinds.values()) == full["max_workers"]
    assert kinds["head"]["resources"] == {"CPU": 0}


def test_rays_schema_has_the_file_for_aws_without_rays_defaults() -> None:
    import json

    import jsonschema
    import ray.autoscaler

    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    jsonschema.validate(tree_of("aws", *EFS, *SPOT), schema)
    jsonschema.validate(tree_of("on-premises", *MACHINES), schema)


def test_machines_pull_the_image_only_where_they_do_not_have_it_and_nodes_of_aws_always() -> None:
    assert tree_of("on-premises", *MACHINES)["docker"]["pull_before_run"] is False
    assert tree_of("aws", *EFS)["docker"]["pull_before_run"] is True


def test_what_a_node_is_said_to_have_is_what_ray_is_started_with() -> None:
    given = (*EFS, *GPUS, "--scaling.cpus-per-worker", "3", "--deploy.workers-per-node", "2")
    tree = tree_of("aws", *given)
    assert tree["available_node_types"]["workers"]["resources"] == {"CPU": 6, "GPU": 2}
    assert "--num-cpus=6 --num-gpus=2" in tree["worker_start_ray_commands"][-1]
    assert "--num-cpus=0 --num-gpus=0" in tree["head_start_ray_commands"][-1]


def test_only_spot_nodes_are_bought_on_the_spot_market() -> None:
    kinds = tree_of("aws", *EFS, *SPOT)["available_node_types"]
    bought = {name: "InstanceMarketOptions" in kind["node_config"] for name, kind in kinds.items()}
    assert bought == {"head": False, "workers": False, "spot": True}
    assert (kinds["workers"]["min_workers"], kinds["spot"]["max_workers"]) == (2, 3)


def test_nodes_of_aws_mount_the_file_system_where_the_container_has_the_runs() -> None:
    tree = tree_of("aws", *EFS, "--deploy.aws.region", "eu-central-1")
    mount = next(x for x in tree["initialization_commands"] if "mount -t nfs4" in x)
    assert "fs-0123abcd.efs.eu-central-1.amazonaws.com:/ /mnt/bessemer" in mount
    assert "-v /mnt/bessemer/runs:/app/runs" in tree["docker"]["run_options"]


def test_storage_that_is_a_url_is_not_mounted() -> None:
    tree = tree_of("aws", "--checkpoint.storage-path", "s3://bucket/runs")
    assert tree["initialization_commands"] == []
    assert not [x for x in tree["docker"]["run_options"] if x.startswith("-v")]


@pytest.mark.parametrize(("name", "given"), [("on-premises", MACHINES), ("aws", EFS)])
def test_ray_asks_for_a_token_that_is_in_a_file_outside(name: str, given: tuple[str, ...]) -> None:
    tree = tree_of(name, *given)
    options = tree["docker"]["run_options"]
    assert "-e RAY_AUTH_MODE=token" in options
    assert not [x for x in options if "RAY_AUTH_TOKEN=" in x]
    (file,) = (x.partition("=")[2] for x in options if "RAY_AUTH_TOKEN_PATH=" in x)
    assert str(Path(file).parent) in tree["file_mounts"]
    assert tree["file_mounts"][str(Path(file).parent)].startswith("~/")


def test_a_file_that_cannot_be_made_is_left_out_with_the_reason() -> None:
    left_out = rendered("--deploy.kubernetes.mlflow").left_out
    assert set(left_out) == {"cluster/on-premises.yaml", "cluster/aws.yaml"}
    assert "deploy.machines.head_ip" in left_out["cluster/on-premises.yaml"]
    assert "deploy.aws.file_system" in left_out["cluster/aws.yaml"]


@pytest.mark.parametrize(
    ("name", "arguments", "found"),
    [
        ("on-premises", (), "no addresses"),
        ("on-premises", (*MACHINES, "--deploy.worker-nodes", "4"), "names 3 machines"),
        ("on-premises", MACHINES[:-2], "storage_path = runs"),
        ("aws", (), "storage_path = runs"),
        ("asw", (), "no cluster file asw"),
    ],
)
def test_a_file_that_is_asked_for_and_cannot_be_made_is_an_error(
    name: str, arguments: tuple[str, ...], found: str
) -> None:
    assert found in refused(*arguments, only=(name,)).found
