"""Settings of images and clusters: what a node has, what runs beside it, and where clusters are.

Only declares; `bessemer/deployment` writes Docker, Ray and Kubernetes files from them. What a node must
have follows from `scaling`: a node holds `workers_per_node` workers of `cpus_per_worker` and
`gpus_per_worker`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bessemer.config.section import Section

DNS_LABEL = "^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"


class NamedCluster(Section):
    """A cluster that `bessemer submit --cluster NAME` knows."""

    address: str = Field(
        min_length=1, description="Where its dashboard answers, such as http://127.0.0.1:8265."
    )
    token_file: str = Field(
        "", description="File with its token; empty: what RAY_AUTH_TOKEN and RAY_AUTH_TOKEN_PATH say."
    )
    packages: Literal["image", "lock"] = Field(
        "image",
        description="Where a job's packages come from: the cluster's image has them, or requirements.lock "
        "is installed for it.",
    )


class Kubernetes(Section):
    """A Ray cluster on Kubernetes, with the KubeRay operator."""

    namespace: str = Field(
        "default",
        pattern=DNS_LABEL,
        description="Namespace of everything that is rendered.",
    )
    project: str = Field(
        "",
        description="Project that the job trains where the image holds several; empty: the image's own.",
    )
    storage_claim: str = Field(
        "",
        pattern=rf"^$|{DNS_LABEL}",
        description="Claim of a volume that there is, for the runs; empty: one is rendered.",
    )
    storage_class: str = Field(
        "",
        description="Storage class of the claim that is rendered, of volumes that many nodes write "
        "(ReadWriteMany); empty: the cluster's default.",
    )
    storage_bytes: int = Field(
        100 * 2**30, ge=2**30, description="Size of the claim that is rendered (bytes)."
    )
    mlflow: bool = Field(
        False,
        description="Whether an MLflow server is rendered, to which runs record unless tracking.uri is "
        "given.",
    )
    mlflow_bytes: int = Field(
        20 * 2**30, ge=2**30, description="Size of the claim of that server's volume (bytes)."
    )
    secret: str = Field(
        "",
        pattern=rf"^$|{DNS_LABEL}",
        description="Secret with the keys auth_token, of Ray, and mlflow_credentials, which may be missing; "
        "empty: the cluster's name, and -secrets.",
    )
    storage_secret: str = Field(
        "",
        pattern=rf"^$|{DNS_LABEL}",
        description="Secret whose entries are variables of nodes, such as AWS_ACCESS_KEY_ID for a URL; "
        "empty: none.",
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent", description="When nodes pull the image."
    )
    image_pull_secret: str = Field(
        "",
        pattern=rf"^$|{DNS_LABEL}",
        description="Secret that the image is pulled with; empty: none.",
    )
    head_cpus: int = Field(2, ge=1, description="CPUs of the head, which does not train (count).")
    gpu_product: str = Field(
        "", description="Label nvidia.com/gpu.product that nodes with GPUs must have; empty: any."
    )
    spot_label: str = Field(
        "karpenter.sh/capacity-type=spot",
        pattern=r"^[^=\s]+=[^=\s]+$",
        description="Label and taint, as key=value, that nodes have which may be taken away.",
    )
    grace_s: int = Field(
        90,
        ge=10,
        description="Time for a last checkpoint that a node's workers have when its pod is deleted "
        "(seconds).",
    )
    retries: int = Field(
        2,
        ge=0,
        description="New clusters that the job is given when it fails, to go on with its run (count).",
    )
    deadline_s: int = Field(
        7 * 86400, ge=0, description="Longest time that the job may take (seconds); 0: any."
    )
    ttl_s: int = Field(
        600, ge=0, description="Time that the job's cluster stays after its end, for a look (seconds)."
    )


class Aws(Section):
    """A Ray cluster that the launcher starts on AWS."""

    region: str = Field("us-west-2", min_length=1, description="Region of all nodes.")
    head_type: str = Field("m7i.xlarge", min_length=1, description="Instance type of the head.")
    worker_type: str = Field(
        "",
        description="Instance type of the nodes that train; empty: m7i.2xlarge, or g6.2xlarge with GPUs.",
    )
    image_id: str = Field(
        "", description="Machine image of all nodes, with Docker; empty: the one that Ray chooses."
    )
    ssh_user: str = Field("ubuntu", min_length=1, description="User of that machine image.")
    disk_bytes: int = Field(200 * 2**30, ge=2**30, description="Disk of each node (bytes).")
    file_system: str = Field(
        "",
        pattern=r"^$|^fs-[0-9a-f]+$",
        description="EFS file system for the runs, such as fs-0123abcd, which all nodes mount; "
        "may be empty if checkpoint.storage_path is a URL.",
    )


class Machines(Section):
    """A Ray cluster that the launcher starts on machines that there are."""

    head_ip: str = Field("", description="Address of the head; empty: there are no such machines.")
    worker_ips: list[str] = Field([], description="Addresses of the machines that train.")
    ssh_user: str = Field("ubuntu", min_length=1, description="User that may log in on all, and run Docker.")
    storage_path: str = Field(
        "",
        pattern=r"^$|^/",
        description="Folder of the runs on every machine, on a file system that all share; empty: "
        "checkpoint.storage_path.",
    )


class Deploy(Section):
    """What the image is called, what nodes have, and which clusters there are."""

    image: str = Field("", description="Name and tag of the image; empty: the project's name, and latest.")
    build: str = Field(
        "cpu", description="Build of PyTorch in the image: cpu, or a CUDA version such as cu128."
    )
    worker_nodes: int = Field(2, ge=1, description="Nodes that train, beside the head (count).")
    max_worker_nodes: int = Field(
        0,
        ge=0,
        description="Most such nodes where a cluster grows with what is asked of it (count); 0: as many as "
        "scaling.num_workers can use.",
    )
    workers_per_node: int = Field(1, ge=1, description="Workers that such a node has room for (count).")
    memory_per_worker_bytes: int = Field(
        2 * 2**30, ge=2**28, description="Memory that a node has for each of its workers (bytes)."
    )
    head_memory_bytes: int = Field(3 * 2**30, ge=2**30, description="Memory of the head (bytes).")
    object_store_bytes: int = Field(
        512 * 2**20, ge=80 * 2**20, description="Memory of each node's object store (bytes)."
    )
    spot: Literal["none", "extra", "all"] = Field(
        "none",
        description="Which nodes that train may be taken away, for a lower price: none, those beyond "
        "worker_nodes, or all.",
    )
    idle_timeout_s: int = Field(
        300,
        ge=0,
        description="Time after which a node beyond worker_nodes that nobody uses is given back (seconds).",
    )
    dashboard_port: int = Field(
        8265, ge=1, le=65535, description="Port of this machine for the dashboard of Compose (a number)."
    )
    mlflow_port: int = Field(
        5000, ge=1, le=65535, description="Port of this machine for the MLflow of Compose (a number)."
    )
    clusters: dict[str, NamedCluster] = Field(
        default_factory=dict,
        description="Clusters by name, each with address, token_file, packages; compose is known by itself.",
    )
    kubernetes: Kubernetes = Field(Kubernetes(), description=Kubernetes.__doc__)
    aws: Aws = Field(Aws(), description=Aws.__doc__)
    machines: Machines = Field(Machines(), description=Machines.__doc__)
