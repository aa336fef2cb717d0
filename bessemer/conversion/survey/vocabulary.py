"""The roles that things play in training, and which imported names make which of them."""

from __future__ import annotations

import re
from enum import Enum


class Role(Enum):
    """What a definition or a variable is for; the values are the words of reports."""

    MODEL = "model"
    LOSS = "loss"
    OPTIMIZER = "optimizer"
    SCHEDULER = "scheduler"
    SCALER = "gradient scaler"
    DATASET = "data set"
    SAMPLER = "sampler"
    COLLATE = "collate"
    LOADER = "loader"
    TRANSFORM = "transform"
    ENVIRONMENT = "environment"
    OPTIONS = "options"
    DEVICE = "device"
    ENTRY = "entry point"
    TRAINING = "training"
    EVALUATION = "evaluation"
    METRIC = "metric"
    CHECKPOINTING = "checkpointing"
    PLOTTING = "plotting"
    SEEDING = "seeding"
    LOGGING = "logging"
    PREPROCESSING = "preprocessing"


FUNCTIONAL_LOSSES = re.compile(
    r"torch\.nn\.functional\.(\w*_loss(_with_logits)?|cross_entropy|binary_cross_entropy\w*|kl_div)$"
    r"|torchvision\.ops\.(sigmoid_focal_loss|\w*iou_loss)$"
)

# The first that matches decides. A capital letter after the last dot tells classes from functions.
_MAKERS: tuple[tuple[str, Role], ...] = (
    (r"torch\.optim\.lr_scheduler\.[A-Z]\w*", Role.SCHEDULER),
    (r"transformers\.(optimization\.)?get_\w*schedule\w*", Role.SCHEDULER),
    (r"torch\.optim\.(\w+\.)?[A-Z]\w*", Role.OPTIMIZER),
    (r"transformers\.(optimization\.)?(AdamW|Adafactor)", Role.OPTIMIZER),
    (r"(torch_optimizer|bitsandbytes\.optim|apex\.optimizers)\.[A-Z]\w*", Role.OPTIMIZER),
    (r"torch\.(cuda\.)?amp\.(grad_scaler\.)?GradScaler", Role.SCALER),
    (
        r"torch\.utils\.data\.(\w+\.)?DataLoader|torch_geometric\.(loader|data)\.\w*(Loader|Sampler)",
        Role.LOADER,
    ),
    (r"torchtext(\.legacy)?\.data\.\w*Iterator(\.splits)?", Role.LOADER),
    (r"torch\.utils\.data\.(\w+\.)?\w*Sampler", Role.SAMPLER),
    (r"torch\.utils\.data\.(\w+\.)?(\w*Dataset|Subset|random_split)", Role.DATASET),
    (r"torchvision\.datasets\.(\w+\.)?[A-Z]\w*|torchaudio\.datasets\.[A-Z]\w*", Role.DATASET),
    (r"torchtext(\.legacy)?\.datasets\.\w+(\.splits)?|torch_geometric\.datasets\.[A-Z]\w*", Role.DATASET),
    (r"datasets\.(load_dataset|load_from_disk|Dataset\.\w+)", Role.DATASET),
    (r"sklearn\.datasets\.(load|fetch|make)_\w+", Role.DATASET),
    (r"torchvision\.transforms\.(v2\.)?[A-Z]\w*|albumentations\.(\w+\.)*[A-Z]\w*", Role.TRANSFORM),
    (r"torchaudio\.transforms\.[A-Z]\w*|kornia\.augmentation\.[A-Z]\w*", Role.TRANSFORM),
    (
        r"transformers\.\w*(Tokenizer|TokenizerFast|Processor|FeatureExtractor)(\.from_pretrained)?",
        Role.TRANSFORM,
    ),
    (r"transformers\.DataCollator\w*|transformers\.default_data_collator", Role.COLLATE),
    (r"torch\.utils\.data\.(\w+\.)*default_collate", Role.COLLATE),
    (r"transformers\.(Auto)?[A-Z]\w*(Model|For[A-Z])\w*(\.from_pretrained|\.from_config)?", Role.MODEL),
    (r"torch\.nn\.(\w+\.)*[A-Z]\w*Loss", Role.LOSS),
    (r"torch\.nn\.(Parameter|ParameterList|ParameterDict)", Role.MODEL),
    (r"torch\.nn\.(modules\.)?(\w+\.)?[A-Z]\w*", Role.MODEL),
    (r"torchvision\.models\.(\w+\.)*\w+|timm\.create_model|torch\.hub\.load", Role.MODEL),
    (r"torch_geometric\.nn\.(\w+\.)*[A-Z]\w*|segmentation_models_pytorch\.[A-Z]\w*", Role.MODEL),
    (r"torchmetrics\.(\w+\.)*[A-Z]\w*|evaluate\.load|sklearn\.metrics\.\w+", Role.METRIC),
    (r"(gym|gymnasium)\.(make|vector\.make)|gymnasium\.make_vec", Role.ENVIRONMENT),
    (r"torch\.device|torch\.accelerator\.current_accelerator", Role.DEVICE),
    (r"torch\.utils\.tensorboard\.(\w+\.)?SummaryWriter|tensorboardX\.SummaryWriter", Role.LOGGING),
    (r"wandb\.init|logging\.getLogger|visdom\.Visdom|csv\.(Dict)?[wW]riter", Role.LOGGING),
    (
        r"yaml\.(safe_|full_)?load|omegaconf\.OmegaConf\.\w+|argparse\.Namespace|toml(lib)?\.load",
        Role.OPTIONS,
    ),
)
_COMPILED = tuple((re.compile(f"({pattern})$"), role) for pattern, role in _MAKERS)
_NO_MODELS = re.compile(
    r"torch\.nn\.(functional|utils|init|parallel)\.|torch\.nn\.\w*DataParallel$|torchvision\.models\.\w+_Weights"
)
_CANONICAL = (
    ("torch.utils.data.dataset.", "torch.utils.data."),
    ("torchvision.transforms.v2.", "torchvision.transforms."),
)

BASES: tuple[tuple[str, Role], ...] = (
    (r"torch\.nn\.(\w+\.)*(\w*Loss|_Loss|_WeightedLoss)", Role.LOSS),
    (r"torch\.nn\.(\w+\.)*[A-Z]\w*|torchvision\.models\.(\w+\.)*\w+", Role.MODEL),
    (r"transformers\.(\w+\.)*\w*Model\w*|torch_geometric\.nn\.(\w+\.)*[A-Z]\w*", Role.MODEL),
    (r"(pytorch_)?lightning\.(\w+\.)*LightningModule", Role.MODEL),
    (r"torch\.utils\.data\.(\w+\.)?\w*Sampler", Role.SAMPLER),
    (r"torch\.utils\.data\.(\w+\.)?\w*Dataset|torchvision\.datasets\.(\w+\.)?\w+", Role.DATASET),
    (r"torch_geometric\.data\.(\w*Dataset)|torch\.utils\.data\.(\w+\.)?Subset", Role.DATASET),
    (r"torch\.utils\.data\.(\w+\.)?DataLoader", Role.LOADER),
    (r"torch\.optim\.lr_scheduler\.\w+", Role.SCHEDULER),
    (r"torch\.optim\.(\w+\.)?[A-Z]\w*", Role.OPTIMIZER),
    (r"torchmetrics\.(\w+\.)*\w+", Role.METRIC),
    (r"(gym|gymnasium)\.(\w+\.)*\w+", Role.ENVIRONMENT),
    (r"torchvision\.transforms\.(\w+\.)*\w+", Role.TRANSFORM),
)
_BASES = tuple((re.compile(f"({pattern})$"), role) for pattern, role in BASES)


def made_by(name: str) -> Role | None:
    """Return what a call of an imported name makes.

    >>> made_by("torch.optim.SGD").value
    'optimizer'
    """
    if _NO_MODELS.match(name):
        return None
    return next((role for pattern, role in _COMPILED if pattern.match(name)), None)


def from_base(name: str) -> Role | None:
    """Return what a class that derives from an imported one is for."""
    return next((role for pattern, role in _BASES if pattern.match(name)), None)
