"""Settings of images and clusters: what a node has, what runs beside it, and where clusters are.

Only declares; `bessemer/deployment` writes Docker, Ray and Kubernetes files from them. What a node must
have follows from `scaling`: a node holds `workers_per_node` workers of `cpus_per_worker` and
`gpus_per_worker`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bessemer.config.section import Section


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
