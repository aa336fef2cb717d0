"""The files for Kubernetes say what KubeRay and Kubernetes need, and no secret."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from bessemer.deployment.kuberay_fields import RayCluster, RayJob
from bessemer.deployment.kubernetes_fields import Claim
from bessemer.deployment.pods import leave_command
from bessemer.deployment.service_fields import Deployment, Service
from deployments import GPUS, SPOT, container_of, groups_of, refused, rendered, tree_of, trees_of

NAMES = ("storage", "mlflow", "raycluster", "rayjob")

VARIANTS: list[tuple[str, ...]] = [
    (),
    SPOT,
    ("--deploy.spot", "all", *GPUS, "--deploy.kubernetes.gpu-product", "NVIDIA-L4"),
    (
        *("--checkpoint.storage-path", "s3://bucket/runs", "--deploy.kubernetes.storage-secret", "keys"),
        *("--deploy.kubernetes.deadline-s", "0"),
    ),
    ("--deploy.kubernetes.image-pull-secret", "registry", "--deploy.kubernetes.storage-class", "efs"),
]


def pods_of(tree: dict[str, Any]) -> list[dict[str, Any]]:
    spec = tree["spec"].get("rayClusterSpec", tree["spec"])
    submitter = [tree["spec"]["submitterPodTemplate"]] if tree["kind"] == "RayJob" else []
    return [
        spec["headGroupSpec"]["template"],
        *(x["template"] for x in spec["workerGroupSpecs"]),
        *submitter,
    ]


# Valid


@pytest.mark.parametrize("arguments", VARIANTS)
def test_every_file_reads_back_as_what_it_was_made_from(arguments: tuple[str, ...]) -> None:
    kinds = (Claim, RayCluster, RayJob, Deployment, Service)
    models = {kind.model_fields["kind"].default: kind for kind in kinds}
    files = rendered(*arguments, "--deploy.kubernetes.mlflow").files
    trees = [tree for name in NAMES for tree in yaml.safe_load_all(files[f"cluster/{name}.yaml"])]
    assert len(trees) >= 5
    for tree in trees:
        parsed = models[tree["kind"]].model_validate(tree)
        assert parsed.model_dump(by_alias=True, exclude_none=True, mode="json") == tree


@pytest.mark.parametrize("arguments", VARIANTS)
def test_kubernetes_knows_every_field_of_the_pods(arguments: tuple[str, ...]) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    pods = [pod for name in ("raycluster", "rayjob") for pod in pods_of(tree_of(name, *arguments))]
    for pod in pods:
        wrapped = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "a"}, "template": pod}
        for version in ("1.28", "1.34"):
            kubernetes_validate.validate(wrapped, version, strict=True)


def test_kubernetes_knows_every_field_of_the_volumes_and_of_mlflow() -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    trees = [x for name in ("storage", "mlflow") for x in trees_of(name, "--deploy.kubernetes.mlflow")]
    assert [x["kind"] for x in trees] == [*["PersistentVolumeClaim"] * 2, "Deployment", "Service"]
    for tree in trees:
        kubernetes_validate.validate(tree, "1.34", strict=True)


def test_rays_own_autoscaler_reads_the_groups_as_they_are_meant() -> None:
    from ray.autoscaler._private.kuberay import autoscaling_config

    given = (*SPOT, *GPUS, "--scaling.cpus-per-worker", "2", "--deploy.workers-per-node", "3")
    read = autoscaling_config._derive_autoscaling_config_from_ray_cr(tree_of("raycluster", *given))
    kinds = read["available_node_types"]
    limits = {name: (kind["min_workers"], kind["max_workers"]) for name, kind in kinds.items()}
    assert limits == {"headgroup": (0, 0), "workers": (2, 2), "spot": (0, 3)}
    assert kinds["headgroup"]["resources"]["CPU"] == 0
    for name in ("workers", "spot"):
        assert kinds[name]["resources"] == {"CPU": 6, "GPU": 3, "memory": 3 * 2**31}


def test_nothing_in_a_file_is_a_reference_to_another_part_of_it() -> None:
    for text in rendered(*SPOT, *GPUS).files.values():
        assert "&id" not in text
        assert "*id" not in text


# Groups


def test_where_the_number_of_nodes_is_fixed_no_autoscaler_may_ask_kubernetes() -> None:
    spec = tree_of("raycluster")["spec"]
    assert not spec["enableInTreeAutoscaling"]
    assert "autoscalerOptions" not in spec
    assert not any(pod["spec"]["automountServiceAccountToken"] for pod in pods_of(tree_of("raycluster")))


def test_where_nodes_come_and_go_the_head_alone_may_ask_kubernetes() -> None:
    tree = tree_of("raycluster", "--scaling.num-workers", "1,6", "--deploy.idle-timeout-s", "77")
    assert tree["spec"]["enableInTreeAutoscaling"]
    assert tree["spec"]["autoscalerOptions"]["idleTimeoutSeconds"] == 77
    assert [pod["spec"]["automountServiceAccountToken"] for pod in pods_of(tree)] == [True, False]


def test_a_group_with_gpus_asks_for_them_and_goes_where_they_are() -> None:
    (group,) = groups_of(
        tree_of("raycluster", *GPUS, "--deploy.kubernetes.gpu-product", "NVIDIA-L4")
    ).values()
    resources = container_of(group)["resources"]
    assert resources["limits"]["nvidia.com/gpu"] == resources["requests"]["nvidia.com/gpu"] == "1"
    pod = group["template"]["spec"]
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert pod["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-L4"}


def test_nodes_beyond_the_first_may_be_spot_and_the_others_keep_off_those() -> None:
    tree = tree_of("raycluster", *SPOT)
    groups = groups_of(tree)
    counts = {name: (x["replicas"], x["minReplicas"], x["maxReplicas"]) for name, x in groups.items()}
    assert counts == {"workers": (2, 2, 2), "spot": (0, 0, 3)}

    def operators(pod: dict[str, Any]) -> list[str]:
        (terms,) = pod["spec"]["affinity"]["nodeAffinity"].values()
        return [rule["operator"] for x in terms["nodeSelectorTerms"] for rule in x["matchExpressions"]]

    head, workers, spot = pods_of(tree)
    assert [operators(pod) for pod in (head, workers, spot)] == [["NotIn"], ["NotIn"], ["In"]]
    assert spot["spec"]["tolerations"][0]["value"] == "spot"


def test_all_nodes_may_be_spot() -> None:
    groups = groups_of(tree_of("raycluster", "--deploy.spot", "all"))
    assert {name: x["minReplicas"] for name, x in groups.items()} == {"spot": 2}


# Storage and secrets


def test_the_runs_are_on_a_claim_that_deleting_a_cluster_leaves_alone() -> None:
    assert tree_of("storage")["metadata"]["name"] == "digits-runs"
    assert tree_of("storage")["spec"]["accessModes"] == ["ReadWriteMany"]
    for pod in pods_of(tree_of("raycluster")):
        assert {"name": "runs", "persistentVolumeClaim": {"claimName": "digits-runs"}} in pod["spec"][
            "volumes"
        ]


def test_a_claim_that_there_is_is_used_and_not_rendered() -> None:
    given = ("--deploy.kubernetes.storage-claim", "shared")
    assert "cluster/storage.yaml" in rendered(*given).left_out
    assert "claimName: shared" in rendered(*given).files["cluster/raycluster.yaml"]


def test_storage_that_is_a_url_needs_no_volume() -> None:
    given = ("--checkpoint.storage-path", "s3://bucket/runs")
    done = rendered(*given)
    assert "cluster/storage.yaml" in done.left_out
    for name in ("raycluster", "rayjob"):
        text = done.files[f"cluster/{name}.yaml"]
        assert "persistentVolumeClaim" not in text
        assert "value: s3://bucket/runs" in text


def test_keys_of_storage_are_variables_of_all_nodes_out_of_a_secret() -> None:
    given = ("--checkpoint.storage-path", "s3://bucket/runs", "--deploy.kubernetes.storage-secret", "keys")
    for name in ("raycluster", "rayjob"):
        tree = tree_of(name, *given)
        spec = tree["spec"].get("rayClusterSpec", tree["spec"])
        for pod in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
            (ray, *_) = pod["template"]["spec"]["containers"]
            assert ray["envFrom"] == [{"secretRef": {"name": "keys"}}]
    assert "envFrom" not in rendered().files["cluster/raycluster.yaml"]


def test_the_token_comes_from_a_secret_and_the_password_from_a_file_of_it() -> None:
    tree = tree_of("raycluster", "--deploy.kubernetes.secret", "keys")
    assert tree["spec"]["authOptions"] == {"mode": "token", "secretName": "keys"}
    for pod in pods_of(tree):
        (container,) = pod["spec"]["containers"]
        assert not {x["name"] for x in container["env"]} & {"RAY_AUTH_TOKEN", "MLFLOW_TRACKING_PASSWORD"}
        mounts = {x["name"]: x["mountPath"] for x in container["volumeMounts"]}
        home = next(x["value"] for x in container["env"] if x["name"] == "HOME")
        assert mounts["mlflow"] == f"{home}/.mlflow"
        assert next(x for x in pod["spec"]["volumes"] if x["name"] == "mlflow")["secret"]["optional"]


def test_an_address_with_a_password_is_refused_and_the_password_not_shown() -> None:
    error = refused("--tracking.uri", "http://me:open-sesame@mlflow:5000")
    assert "open-sesame" not in str(error)


# MLflow


def variables_of(tree: dict[str, Any]) -> dict[str, str]:
    (container,) = pods_of(tree)[0]["spec"]["containers"]
    return {x["name"]: x["value"] for x in container["env"]}


def test_runs_record_to_the_mlflow_that_is_rendered_unless_another_is_named() -> None:
    server, service = trees_of("mlflow", "--deploy.kubernetes.mlflow")
    uri = variables_of(tree_of("rayjob", "--deploy.kubernetes.mlflow"))["BESSEMER_TRACKING__URI"]
    name, port = service["metadata"]["name"], service["spec"]["ports"][0]["port"]
    assert uri == f"http://{name}:{port}"
    labels = server["spec"]["template"]["metadata"]["labels"]
    assert labels == service["spec"]["selector"] == server["spec"]["selector"]["matchLabels"]
    (container,) = server["spec"]["template"]["spec"]["containers"]
    (hosts,) = (x.partition("=")[2] for x in container["command"] if x.startswith("--allowed-hosts"))
    assert f"{name}:{port}" in hosts.split(",")
    given = ("--deploy.kubernetes.mlflow", "--tracking.uri", "http://other:80")
    assert variables_of(tree_of("rayjob", *given))["BESSEMER_TRACKING__URI"] == "http://other:80"
    assert "BESSEMER_TRACKING__URI" not in variables_of(tree_of("rayjob"))


def test_what_mlflow_recorded_outlives_the_server() -> None:
    claims = [x["metadata"]["name"] for x in trees_of("storage", "--deploy.kubernetes.mlflow")]
    assert claims == ["digits-runs", "digits-mlflow"]
    (server, _) = trees_of("mlflow", "--deploy.kubernetes.mlflow")
    volumes = server["spec"]["template"]["spec"]["volumes"]
    assert {"name": "mlflow", "persistentVolumeClaim": {"claimName": "digits-mlflow"}} in volumes


# Pods


def test_no_pod_may_do_what_it_does_not_need() -> None:
    for pod in (*pods_of(tree_of("rayjob", *SPOT)), *pods_of(tree_of("raycluster", *SPOT))):
        assert pod["spec"]["securityContext"]["runAsUser"] == 1000
        assert pod["spec"]["securityContext"]["runAsNonRoot"]
        for container in pod["spec"]["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"]
            assert not security["allowPrivilegeEscalation"]
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert security["seccompProfile"] == {"type": "RuntimeDefault"}
            assert "/tmp" in [x["mountPath"] for x in container["volumeMounts"]]


def test_every_mount_has_its_volume() -> None:
    for arguments in VARIANTS:
        for project in ("digits", ""):
            given = (*arguments, "--deploy.kubernetes.project", "digits")
            for pod in pods_of(tree_of("rayjob", *given, project=project)):
                (container,) = pod["spec"]["containers"]
                mounted = [x["name"] for x in container["volumeMounts"]]
                assert sorted(mounted) == sorted(x["name"] for x in pod["spec"]["volumes"])


def test_shared_memory_holds_the_object_store() -> None:
    (group,) = groups_of(tree_of("raycluster", "--deploy.object-store-bytes", str(2**30))).values()
    assert group["rayStartParams"]["object-store-memory"] == str(2**30)
    volumes = {x["name"]: x for x in group["template"]["spec"]["volumes"]}
    assert volumes["shared-memory"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "1088Mi"}


def test_a_node_has_time_for_a_last_checkpoint_before_it_is_stopped() -> None:
    (group,) = groups_of(tree_of("raycluster", "--deploy.kubernetes.grace-s", "200")).values()
    assert group["template"]["spec"]["terminationGracePeriodSeconds"] > 200
    command = container_of(group)["lifecycle"]["preStop"]["exec"]["command"]
    assert command == ["/bin/bash", "-c", leave_command(200)]


def test_a_node_that_holds_no_worker_is_left_at_once(tmp_path: Path) -> None:
    called = tmp_path / "called"
    ray = tmp_path / "ray"
    ray.write_text(f'#!/bin/sh\necho "$@" >> {called}\n')
    ray.chmod(0o755)
    command = leave_command(30).replace("RayTrain", "NoSuchWorker")
    subprocess.run(["bash", "-c", command], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, timeout=10, check=True)
    lines = called.read_text().splitlines()
    assert lines[0].startswith("drain-node --reason DRAIN_NODE_REASON_PREEMPTION")
    assert "--deadline-remaining-seconds 30" in lines[0]
    assert lines[1:] == ["stop"]


def test_ray_answers_the_page_that_the_probes_ask_for_without_a_token() -> None:
    from ray.dashboard import http_server_agent

    probe = container_of(next(iter(groups_of(tree_of("raycluster")).values())))["livenessProbe"]
    assert probe["httpGet"] == {"path": "/api/healthz", "port": 52365}
    assert f'"{probe["httpGet"]["path"]}"' in Path(http_server_agent.__file__).read_text()


# Job


def ran_by(entrypoint: str, folder: Path) -> list[str]:
    """What the command of a job calls, once it has gone through the shells that it goes through."""
    called = folder / "called"
    python = folder / "python"
    python.write_text(f'#!/bin/sh\necho "$@" > {called}\n')
    python.chmod(0o755)
    # As `ray job submit` puts it together again from the arguments of a first shell.
    again = subprocess.list2cmdline(shlex.split(entrypoint))
    again = again.replace("cd /app", f"cd {folder}")
    subprocess.run(["sh", "-c", again], env={"PATH": f"{folder}:/usr/bin:/bin"}, timeout=10, check=True)
    return called.read_text().split()


def test_a_job_begins_a_run_of_its_name_and_goes_on_with_it_when_it_is_tried_again(tmp_path: Path) -> None:
    command = tree_of("rayjob", "--scaling.num-workers", "1,2", "--tracking.run-name", "a")["spec"][
        "entrypoint"
    ]
    scaling = ["--scaling.num-workers", "1,2", "--scaling.device", "cpu", "--scaling.cpus-per-worker", "1"]
    assert ran_by(command, tmp_path) == ["jobs/train.py", "--resume", "a", "--or-begin", *scaling]


def test_a_job_ends_with_its_cluster_and_is_tried_again_as_often_as_asked() -> None:
    spec = tree_of("rayjob", "--deploy.kubernetes.retries", "4", "--deploy.kubernetes.ttl-s", "9")["spec"]
    assert spec["shutdownAfterJobFinishes"]
    assert (spec["backoffLimit"], spec["ttlSecondsAfterFinished"]) == (4, 9)
    assert spec["activeDeadlineSeconds"] == 7 * 86400
    assert "activeDeadlineSeconds" not in tree_of("rayjob", "--deploy.kubernetes.deadline-s", "0")["spec"]


def test_words_that_a_shell_would_change_are_refused_for_a_job() -> None:
    assert "'my run'" in refused("--tracking.run-name", "my run", only=("rayjob",)).found


def test_the_job_of_the_repository_trains_the_project_that_is_named() -> None:
    assert "cluster/rayjob.yaml" in rendered(project="").left_out
    job = tree_of("rayjob", "--deploy.kubernetes.project", "digits", project="")
    assert "jobs/train.py --project digits --resume" in job["spec"]["entrypoint"]
