"""Files for the Ray cluster launcher (`ray up`): machines that there are, or machines of AWS.

Everything runs in the image, in one container on each machine. Ray's token comes from a folder of whoever
calls `ray up`, and is copied to each machine; it stands in no file here.
"""

from __future__ import annotations

from bessemer.config.settings import Settings
from bessemer.deployment.fields import RENDERED, document
from bessemer.deployment.image import HOME, USER_ID, VENV_BIN, WORK_FOLDER, image_name, resource_name
from bessemer.deployment.launcher_fields import (
    AwsProvider,
    Disk,
    DiskMapping,
    Docker,
    Instance,
    Launched,
    LocalProvider,
    Login,
    Market,
    NodeType,
)
from bessemer.deployment.nodes import Nodes, plan_nodes
from bessemer.deployment.storage import environment_of, storage_of
from bessemer.errors import DeploymentError

_TOKEN_FOLDER = "~/.bessemer/token"  # nosec B105  # a folder's name
_MOUNTED_TOKEN = f"{HOME}/.bessemer/token"
_EFS_MOUNT = "/mnt/bessemer"
_WORKER, _GPU_WORKER = "m7i.2xlarge", "g6.2xlarge"
_MAX_FILES = 65536
_READY = f"export PATH={VENV_BIN}:$PATH; cd {WORK_FOLDER}"
_TOKEN_HELP = f"""\
Needs a token, made once:
  (umask 077; mkdir -p {_TOKEN_FOLDER}; openssl rand -hex 32 > {_TOKEN_FOLDER}/auth_token)"""


def on_premises_file(settings: Settings, project: str) -> str:
    """Return `on-premises.yaml`, for machines that there are.

    Args:
        settings: `deploy.machines` of these says which machines.
        project: whose cluster it is; empty: that of the repository.

    Raises:
        DeploymentError: the settings contradict each other, or say too little.
    """
    machines, nodes = settings.deploy.machines, plan_nodes(settings)
    if not machines.head_ip or not machines.worker_ips:
        raise DeploymentError(
            "deploy.machines has no addresses",
            expected="the head's address and those of the machines that train",
            todo="set deploy.machines.head_ip and deploy.machines.worker_ips",
        )
    if len(machines.worker_ips) < nodes.num_nodes:
        raise DeploymentError(
            f"deploy.machines.worker_ips names {len(machines.worker_ips)} machines",
            expected=f"{nodes.num_nodes}, for deploy.worker_nodes and scaling.num_workers",
            todo="name more machines, raise deploy.workers_per_node, or ask for fewer",
        )
    folder = machines.storage_path or settings.checkpoint.storage_path
    if not storage_of(settings).is_url and not folder.startswith("/"):
        raise DeploymentError(
            f"checkpoint.storage_path = {folder}, a folder of each machine",
            expected="a folder that all machines share",
            todo="set deploy.machines.storage_path to where it is on every machine",
        )
    file = "cluster/on-premises.yaml"
    header = f"""\
A Ray cluster on machines that there are, for the Ray cluster launcher.
{RENDERED}

Every machine needs Docker, which {machines.ssh_user} may use, and the image {image_name(settings, project)}
with rsync in it, and with ssh for the head.
{_TOKEN_HELP}
{_commands(file, project)}"""
    launched = Launched(
        cluster_name=resource_name(project),
        provider=LocalProvider(head_ip=machines.head_ip, worker_ips=list(machines.worker_ips)),
        auth=Login(ssh_user=machines.ssh_user),
        max_workers=len(machines.worker_ips),
        idle_timeout_minutes=settings.deploy.idle_timeout_s / 60,
        docker=_docker(settings, project, nodes, folder, pull=False),
        file_mounts={_MOUNTED_TOKEN: _TOKEN_FOLDER},
        initialization_commands=[],
        head_start_ray_commands=_head_commands(settings),
        worker_start_ray_commands=_worker_commands(nodes),
    )
    return document(header, [launched])


def aws_file(settings: Settings, project: str) -> str:
    """Return `aws.yaml`, for machines of AWS.

    Args:
        settings: `deploy.aws` of these says which machines.
        project: whose cluster it is; empty: that of the repository.

    Raises:
        DeploymentError: the settings contradict each other, or say too little.
    """
    aws, nodes = settings.deploy.aws, plan_nodes(settings)
    if not storage_of(settings).is_url and not aws.file_system:
        raise DeploymentError(
            f"checkpoint.storage_path = {settings.checkpoint.storage_path}, a folder of each node",
            expected="storage that all nodes share",
            todo="set deploy.aws.file_system to an EFS file system",
        )
    file = "cluster/aws.yaml"
    header = f"""\
A Ray cluster on AWS, for the Ray cluster launcher.
{RENDERED}

Needs AWS credentials, and the image {image_name(settings, project)} where nodes can pull it, with rsync,
ssh and boto3 in it.
{_TOKEN_HELP}
{_commands(file, project)}"""
    kinds = _node_types(settings, nodes)
    launched = Launched(
        cluster_name=resource_name(project),
        provider=AwsProvider(region=aws.region),
        auth=Login(ssh_user=aws.ssh_user),
        max_workers=nodes.max_nodes,
        idle_timeout_minutes=settings.deploy.idle_timeout_s / 60,
        docker=_docker(settings, project, nodes, f"{_EFS_MOUNT}/runs", pull=True),
        available_node_types=kinds,
        head_node_type="head",
        file_mounts={_MOUNTED_TOKEN: _TOKEN_FOLDER},
        initialization_commands=_mount_commands(settings),
        head_start_ray_commands=_head_commands(settings),
        worker_start_ray_commands=_worker_commands(nodes),
    )
    return document(header, [launched])


def _node_types(settings: Settings, nodes: Nodes) -> dict[str, NodeType]:
    aws = settings.deploy.aws
    worker_type = aws.worker_type or (_GPU_WORKER if nodes.gpus else _WORKER)
    resources = {"CPU": nodes.cpus} | ({"GPU": nodes.gpus} if nodes.gpus else {})
    kinds = {
        "head": NodeType(
            resources={"CPU": 0}, min_workers=0, max_workers=0, node_config=_instance(settings, aws.head_type)
        )
    }
    if most := nodes.max_nodes - nodes.max_spot:
        kinds["workers"] = NodeType(
            resources=resources,
            min_workers=nodes.num_nodes - nodes.num_spot,
            max_workers=most,
            node_config=_instance(settings, worker_type),
        )
    if nodes.max_spot:
        kinds["spot"] = NodeType(
            resources=resources,
            min_workers=nodes.num_spot,
            max_workers=nodes.max_spot,
            node_config=_instance(settings, worker_type, Market()),
        )
    return kinds


def _instance(settings: Settings, kind: str, market: Market | None = None) -> Instance:
    size_gib = -(-settings.deploy.aws.disk_bytes // 2**30)
    return Instance(
        instance_type=kind,
        image_id=settings.deploy.aws.image_id or None,
        block_device_mappings=[DiskMapping(ebs=Disk(volume_size=size_gib))],
        instance_market_options=market,
    )


def _mount_commands(settings: Settings) -> list[str]:
    """Return what mounts the file system on a machine, before its container is started."""
    aws = settings.deploy.aws
    if storage_of(settings).is_url or not aws.file_system:
        return []
    server = f"{aws.file_system}.efs.{aws.region}.amazonaws.com"
    options = "nfsvers=4.1,rsize=1048576,wsize=1048576,hard,timeo=600,retrans=2,noresvport"
    return [
        "command -v mount.nfs4 || (sudo apt-get update && sudo apt-get install -y nfs-common)",
        f"sudo mkdir -p {_EFS_MOUNT}",
        f"mountpoint -q {_EFS_MOUNT} || sudo mount -t nfs4 -o {options} {server}:/ {_EFS_MOUNT}",
        f"sudo install -d -o {USER_ID} -g {USER_ID} {_EFS_MOUNT}/runs",
    ]


def _docker(settings: Settings, project: str, nodes: Nodes, folder: str, pull: bool) -> Docker:
    """Return the container of each machine.

    Args:
        settings: what it has.
        project: whose image.
        nodes: how large they are.
        folder: where the machine has the runs.
        pull: whether its image is pulled before each start; else where there is none.
    """
    storage = storage_of(settings)
    environment = {
        **environment_of(settings, storage),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": f"{_MOUNTED_TOKEN}/auth_token",
    }
    return Docker(
        image=image_name(settings, project),
        container_name=resource_name(project),
        pull_before_run=pull,
        run_options=[
            # The launcher gives the image a shell to run, which the image's own entry point would read.
            '--entrypoint ""',
            f"--shm-size={nodes.shared_bytes}b",
            f"--ulimit nofile={_MAX_FILES}:{_MAX_FILES}",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
            *(f"-e {name}={value}" for name, value in environment.items()),
            *([] if storage.is_url else [f"-v {folder}:{storage.path}"]),
        ],
    )


def _head_commands(settings: Settings) -> list[str]:
    return [
        f"{_READY}; ray stop",
        f"{_READY}; ray start --head --port=6379 --num-cpus=0 --num-gpus=0 --dashboard-host=127.0.0.1 "
        f"--object-store-memory={settings.deploy.object_store_bytes} "
        "--autoscaling-config=~/ray_bootstrap_config.yaml",
    ]


def _worker_commands(nodes: Nodes) -> list[str]:
    return [
        f"{_READY}; ray stop",
        f"{_READY}; ray start --address=$RAY_HEAD_IP:6379 --num-cpus={nodes.cpus} --num-gpus={nodes.gpus} "
        f"--object-store-memory={nodes.object_store_bytes}",
    ]


def _commands(file: str, project: str) -> str:
    chosen = "" if project else " --project PROJECT"
    token = f"RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH={_TOKEN_FOLDER}/auth_token"
    return f"""\

Start:   ray up {file}
Reach:   ray dashboard {file}   (then http://127.0.0.1:8265 here)
Train:   {token} \\
           ray job submit --address http://127.0.0.1:8265 -- python {WORK_FOLDER}/jobs/train.py{chosen}
Stop:    ray down {file}"""
