"""The fields of Kubernetes that rendered files have: those of pods and of claims of volumes."""

from __future__ import annotations

from typing import Literal

from bessemer.deployment.fields import CamelFields


class Metadata(CamelFields):
    """What an object is called."""

    name: str | None = None
    namespace: str | None = None
    labels: dict[str, str] | None = None


class Variable(CamelFields):
    """A variable of a container's environment."""

    name: str
    value: str


class Port(CamelFields):
    """A port of a container, with the name that services look for."""

    name: str
    container_port: int


class Resources(CamelFields):
    """What a container asks for and may use, as quantities by name."""

    requests: dict[str, str]
    limits: dict[str, str]


class HttpGet(CamelFields):
    """A page that answers while all is well."""

    path: str
    port: int


class Probe(CamelFields):
    """How often a node asks for that page, and how many times it may fail."""

    http_get: HttpGet
    period_seconds: int
    timeout_seconds: int
    failure_threshold: int


class Command(CamelFields):
    """A command inside the container."""

    command: list[str]


class Handler(CamelFields):
    """What is run at a moment of a container's life."""

    exec: Command


class Lifecycle(CamelFields):
    """What is run before a container is stopped."""

    pre_stop: Handler


class Capabilities(CamelFields):
    """Rights of root that are taken away."""

    drop: list[str]


class SeccompProfile(CamelFields):
    """Which system calls are allowed."""

    type: Literal["RuntimeDefault"] = "RuntimeDefault"


class ContainerSecurity(CamelFields):
    """What a container may not do."""

    run_as_non_root: bool = True
    allow_privilege_escalation: bool = False
    read_only_root_filesystem: bool = True
    capabilities: Capabilities = Capabilities(drop=["ALL"])
    seccomp_profile: SeccompProfile = SeccompProfile()


class PodSecurity(CamelFields):
    """Whom the containers of a pod run as."""

    run_as_non_root: bool = True
    run_as_user: int
    run_as_group: int
    fs_group: int
    fs_group_change_policy: Literal["OnRootMismatch"] = "OnRootMismatch"
    seccomp_profile: SeccompProfile = SeccompProfile()


class Mount(CamelFields):
    """Where a container sees a volume."""

    name: str
    mount_path: str
    read_only: bool | None = None


class EmptyDir(CamelFields):
    """A folder that lives as long as its pod, on disk or in memory."""

    medium: Literal["Memory"] | None = None
    size_limit: str | None = None


class ClaimSource(CamelFields):
    """A claim of a volume in the same namespace."""

    claim_name: str


class KeyPath(CamelFields):
    """Which file a key of a secret becomes."""

    key: str
    path: str


class SecretSource(CamelFields):
    """Keys of a secret as files."""

    secret_name: str
    default_mode: int
    optional: bool
    items: list[KeyPath]


class Volume(CamelFields):
    """A volume of a pod, from exactly one source."""

    name: str
    empty_dir: EmptyDir | None = None
    persistent_volume_claim: ClaimSource | None = None
    secret: SecretSource | None = None


class Reference(CamelFields):
    """An object of the same namespace by name."""

    name: str


class Variables(CamelFields):
    """Variables of a container's environment that are the entries of a secret."""

    secret_ref: Reference


class Container(CamelFields):
    """A container of a pod."""

    name: str
    image: str
    image_pull_policy: str
    command: list[str] | None = None
    env: list[Variable]
    env_from: list[Variables] | None = None
    ports: list[Port] | None = None
    resources: Resources
    volume_mounts: list[Mount]
    security_context: ContainerSecurity = ContainerSecurity()
    lifecycle: Lifecycle | None = None
    startup_probe: Probe | None = None
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None


class Toleration(CamelFields):
    """A taint of nodes that does not keep a pod away."""

    key: str
    operator: Literal["Equal", "Exists"]
    value: str | None = None
    effect: Literal["NoSchedule"] = "NoSchedule"


class LabelRule(CamelFields):
    """A label that nodes must or must not have."""

    key: str
    operator: Literal["In", "NotIn"]
    values: list[str]


class LabelRules(CamelFields):
    """Labels that all must be right."""

    match_expressions: list[LabelRule]


class NodeTerms(CamelFields):
    """Rules of which one must be right."""

    node_selector_terms: list[LabelRules]


class NodeAffinity(CamelFields):
    """Nodes that a pod may be started on."""

    required_during_scheduling_ignored_during_execution: NodeTerms


class Affinity(CamelFields):
    """Where a pod may be started."""

    node_affinity: NodeAffinity


class PodSpec(CamelFields):
    """A pod."""

    automount_service_account_token: bool
    enable_service_links: bool = False
    restart_policy: Literal["Never"] | None = None
    termination_grace_period_seconds: int
    security_context: PodSecurity
    image_pull_secrets: list[Reference] | None = None
    node_selector: dict[str, str] | None = None
    tolerations: list[Toleration] | None = None
    affinity: Affinity | None = None
    containers: list[Container]
    volumes: list[Volume]


class PodTemplate(CamelFields):
    """What pods of a group are made from."""

    metadata: Metadata | None = None
    spec: PodSpec


class ClaimResources(CamelFields):
    """How large a volume must be."""

    requests: dict[str, str]


class ClaimSpec(CamelFields):
    """What volume is claimed."""

    access_modes: list[Literal["ReadWriteMany", "ReadWriteOnce"]]
    storage_class_name: str | None = None
    resources: ClaimResources


class Claim(CamelFields):
    """A claim of a volume."""

    api_version: Literal["v1"] = "v1"
    kind: Literal["PersistentVolumeClaim"] = "PersistentVolumeClaim"
    metadata: Metadata
    spec: ClaimSpec
