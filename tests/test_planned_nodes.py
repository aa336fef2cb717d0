"""The nodes of a planned cluster hold the workers that training will ask for."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from bessemer.config.deploy_settings import Deploy
from bessemer.config.settings import Scaling, Settings
from bessemer.deployment.containers import Site
from bessemer.deployment.image import image_name, resource_name
from bessemer.deployment.kuberay import cluster_file
from bessemer.deployment.nodes import plan_nodes
from bessemer.deployment.storage import storage_of
from bessemer.errors import DeploymentError
from bessemer.training.placement import Node, num_fitting
from deployments import refused, settings_of, tree_of

parts = st.floats(0.05, 1.0) | st.sampled_from([0.1, 0.3, 1 / 3, 0.7]) | st.integers(1, 16).map(float)


@st.composite
def all_settings(draw: st.DrawFn) -> Settings:
    least = draw(st.integers(1, 40))
    most = draw(st.just(least) | st.integers(least, 60))
    scaling = Scaling(
        num_workers=(least, most) if least < most else least,
        device=draw(st.sampled_from(["auto", "cpu", "gpu"])),
        cpus_per_worker=draw(parts | st.floats(1.0, 64.0)),
        gpus_per_worker=draw(parts),
    )
    build = "cu128" if scaling.device == "gpu" else draw(st.sampled_from(["cpu", "cu128"]))
    deploy = Deploy(
        build=build,
        worker_nodes=draw(st.integers(1, 8)),
        workers_per_node=draw(st.integers(1, 16)),
        spot=draw(st.sampled_from(["none", "all"])),
    )
    return Settings(scaling=scaling, deploy=deploy)


@bounded(max_examples=150, deadline=None)
@given(all_settings())
def test_rendered_groups_hold_the_workers_as_training_counts_them(settings: Settings) -> None:
    site = Site(settings, "c", "c", storage_of(settings))
    spec = yaml.safe_load(cluster_file(site, "2.60.0"))["spec"]
    scaling = settings.scaling
    gpus_per_worker = scaling.gpus_per_worker if plan_nodes(settings).gpus else 0.0
    for count, wanted in (("minReplicas", scaling.min_workers), ("maxReplicas", scaling.max_workers)):
        nodes = [
            Node(
                float(group["rayStartParams"]["num-cpus"]), float(group["rayStartParams"].get("num-gpus", 0))
            )
            for group in spec["workerGroupSpecs"]
            for _ in range(group[count])
        ]
        assert num_fitting(nodes, scaling.cpus_per_worker, gpus_per_worker) >= wanted
        assert len(nodes) >= settings.deploy.worker_nodes
    alone = [Node(*(float(x) for x in (plan_nodes(settings).cpus, plan_nodes(settings).gpus)))]
    assert num_fitting(alone, scaling.cpus_per_worker, gpus_per_worker) >= settings.deploy.workers_per_node


def test_a_node_has_a_cpu_more_where_its_workers_would_miss_one_by_rounding() -> None:
    # 33 / 2.2 is 14.999999999999998.
    nodes = plan_nodes(settings_of("--scaling.cpus-per-worker", "2.2", "--deploy.workers-per-node", "15"))
    assert num_fitting([Node(nodes.cpus, 0)], 2.2, 0) == 15


def test_parts_of_a_gpu_are_not_taken_from_two_of_them() -> None:
    arguments = ("--deploy.build", "cu128", "--scaling.gpus-per-worker", "0.6")
    assert plan_nodes(settings_of(*arguments, "--deploy.workers-per-node", "3")).gpus == 3


def test_a_cluster_has_nodes_enough_for_the_least_number_of_workers() -> None:
    nodes = plan_nodes(settings_of("--scaling.num-workers", "5,9", "--deploy.workers-per-node", "2"))
    assert (nodes.num_nodes, nodes.max_nodes) == (3, 5)


def test_a_node_has_memory_for_its_workers_and_its_object_store() -> None:
    given = ("--deploy.workers-per-node", "3", "--deploy.memory-per-worker-bytes", str(2**30))
    nodes = plan_nodes(settings_of(*given, "--deploy.object-store-bytes", str(2**31)))
    assert nodes.worker_bytes == 3 * 2**30
    assert nodes.memory_bytes > nodes.worker_bytes + nodes.shared_bytes
    assert nodes.shared_bytes > nodes.object_store_bytes == 2**31


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("--scaling.num-workers", "9", "--deploy.max-worker-nodes", "4"), "9 workers, and 4 nodes"),
        (("--scaling.num-workers", "1,9", "--deploy.max-worker-nodes", "4"), "9 workers, and 4 nodes"),
        (("--deploy.max-worker-nodes", "1"), "deploy.worker_nodes = 2"),
        (("--scaling.device", "gpu"), "deploy.build = cpu"),
        (("--deploy.build", "cu128", "--scaling.gpus-per-worker", "1.5"), "gpus_per_worker = 1.5"),
        (("--deploy.spot", "extra"), "deploy.spot = extra"),
        (("--checkpoint.storage-path", "../runs"), "storage_path = ../runs"),
        (("--checkpoint.storage-path", "/"), "storage_path = /"),
        (("--checkpoint.storage-path", "~/runs"), "storage_path = ~/runs"),
        (("--checkpoint.storage-path", "/tmp"), "storage_path = /tmp"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(arguments: tuple[str, ...], found: str) -> None:
    assert found in refused(*arguments).found


def test_the_image_is_called_after_the_project_unless_it_is_named() -> None:
    assert image_name(Settings()) == "bessemer:latest"
    assert image_name(Settings(), "Hand-written digits") == "hand-written-digits:latest"
    named = settings_of("--deploy.image", "registry.example/a/b:3")
    assert image_name(named, "digits") == "registry.example/a/b:3"


@given(st.text(max_size=80))
def test_every_project_has_a_name_that_kubernetes_takes(project: str) -> None:
    name = resource_name(project)
    assert 1 <= len(name) <= 40
    assert name[0] in "abcdefghijklmnopqrstuvwxyz"
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert not name.endswith("-")


def test_a_relative_storage_folder_is_one_of_the_images_working_folder() -> None:
    mounts = tree_of("raycluster")["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0][
        "volumeMounts"
    ]
    assert {"name": "runs", "mountPath": "/app/runs"} in mounts
    assert storage_of(settings_of("--checkpoint.storage-path", "/data/runs")).path == "/data/runs"


def test_an_error_of_deployment_is_the_users() -> None:
    assert DeploymentError("a", "b", "c").exit_code == 2
