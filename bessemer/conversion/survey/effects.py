"""What definitions do besides computing: plotting, saving, seeding, logging, reading."""

from __future__ import annotations

from typing import TYPE_CHECKING

import libcst as cst

from bessemer.conversion.survey.vocabulary import Role, made_by
from bessemer.conversion.syntax import Definition, walk

if TYPE_CHECKING:
    from bessemer.conversion.survey.definitions import Definitions


READERS = (
    *("builtins.open", "pandas.read", "urllib.", "requests.", "tarfile.", "zipfile.", "gzip.", "csv."),
    *("shutil.", "glob.", "json.load", "pickle.load", "numpy.load", "numpy.genfromtxt", "sklearn.datasets."),
    *("scipy.io.", "PIL.Image.open", "os.listdir", "os.walk", "torchaudio.load", "cv2.imread", "h5py."),
)
PLOTS = ("matplotlib.", "seaborn.", "plotly.", "torchvision.utils.save_image", "torchvision.utils.make_grid")
SEEDS = frozenset(
    {"torch.manual_seed", "torch.cuda.manual_seed", "torch.cuda.manual_seed_all", "random.seed"}
    | {"numpy.random.seed", "torch.random.manual_seed", "torch.use_deterministic_algorithms"}
)
SAVES = frozenset({"torch.save", "torch.load", "safetensors.torch.save_file", "safetensors.torch.load_file"})
QUIET = frozenset({"torch.no_grad", "torch.inference_mode", "torch.autograd.no_grad"})


def methods_of(owner: Definition) -> dict[str, cst.FunctionDef]:
    """Return the methods that a class defines itself, by name."""
    body = cst.ensure_type(owner, cst.ClassDef).body.body
    return {x.name.value: x for x in body if isinstance(x, cst.FunctionDef)}


def iterated(known: Definitions, source: cst.BaseExpression) -> cst.BaseExpression:
    """Return what a loop goes over, without `enumerate` and progress bars."""
    while isinstance(source, cst.Call) and source.args:
        name = known.origins.called(source) or ""
        if name not in ("builtins.enumerate", "tqdm.tqdm", "tqdm", "rich.progress.track", "itertools.islice"):
            break
        source = source.args[0].value
    return source


def effects(known: Definitions, definition: Definition) -> Role | None:
    """Return the role of what leaves something behind, or sets how chance falls."""
    facts = known.facts(definition)
    if any(x.startswith(PLOTS) for x in facts.names):
        return Role.PLOTTING
    if facts.names & SAVES or facts.methods & {"load_state_dict", "save_pretrained"}:
        return Role.CHECKPOINTING
    if facts.names & SEEDS:
        return Role.SEEDING
    if isinstance(definition, cst.FunctionDef) and sets_rate(definition):
        return Role.SCHEDULER
    return None


def logs(known: Definitions, definition: Definition) -> Role | None:
    """Return the role of what writes a log or sends values to a tracker."""
    facts = known.facts(definition)
    logged = facts.methods & {
        "add_scalar",
        "add_scalars",
        "writerow",
        "basicConfig",
        "addHandler",
        "log_metrics",
    }
    named = any(x.startswith(("logging.", "wandb.", "mlflow.")) for x in facts.names)
    held = any(made_by(x) is Role.LOGGING for x in facts.names)
    return Role.LOGGING if logged or named or held else None


def sets_rate(node: cst.CSTNode) -> bool:
    """Tell whether code writes the rate of an optimizer: `group["lr"] = ...`."""
    for target in walk(node, cst.AssignTarget, cst.AugAssign):
        held = target.target
        if isinstance(held, cst.Subscript) and any(
            x.value in ('"lr"', "'lr'") for x in walk(held, cst.SimpleString)
        ):
            return True
    return False


def reads(known: Definitions, definition: Definition) -> Role | None:
    """Return the role of what reads or fetches data."""
    facts = known.facts(definition)
    return Role.PREPROCESSING if any(x.startswith(READERS) for x in facts.names) else None
