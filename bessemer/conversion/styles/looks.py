"""What a name and a value look like: a hyperparameter, a path, or neither.

Only names that say what they are count. A number that nobody would change between two runs stays where it is:
an index, a token, the number of classes, a counter's start.
"""

from __future__ import annotations

import re

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_TUNED = frozenset(
    {
        "lr",
        "rate",
        "epochs",
        "batch",
        "bs",
        "batchsize",
        "hidden",
        "nhid",
        "dim",
        "dims",
        "size",
        "dropout",
        "drop",
    }
    | {
        "momentum",
        "betas",
        "beta",
        "beta1",
        "beta2",
        "decay",
        "wd",
        "gamma",
        "seed",
        "layers",
        "nlayers",
        "heads",
    }
    | {"head", "layer", "steps", "iters", "iterations", "patience", "clip", "warmup", "temperature", "alpha"}
    | {
        "lambda",
        "lam",
        "epsilon",
        "tau",
        "margin",
        "latent",
        "nz",
        "ngf",
        "ndf",
        "channels",
        "embed",
        "embedding",
    }
    | {
        "embd",
        "emb",
        "emsize",
        "width",
        "depth",
        "units",
        "filters",
        "workers",
        "interval",
        "length",
        "len",
        "seq",
    }
    | {
        "bptt",
        "block",
        "noise",
        "freq",
        "frequency",
        "every",
        "smoothing",
        "capacity",
        "horizon",
        "threshold",
    }
    | {
        "weight",
        "ratio",
        "fraction",
        "split",
        "samples",
        "degree",
        "sigma",
        "lr_d",
        "lr_g",
        "d_model",
        "shift",
    }
)
_EPOCHS = frozenset({"n_epoch", "num_epoch", "max_epoch", "nepoch", "nepochs", "niter", "n_iter", "max_iter"})
_FIXED = frozenset(
    {
        "classes",
        "class",
        "idx",
        "index",
        "id",
        "token",
        "pad",
        "unk",
        "sos",
        "eos",
        "bos",
        "start",
        "best",
        "current",
    }
    | {
        "global",
        "total",
        "count",
        "counter",
        "version",
        "device",
        "mean",
        "std",
        "pi",
        "rank",
        "world",
        "offset",
    }
    | {"labels", "label", "line", "vocab", "last", "prev", "running"}
)
_SWITCHES = frozenset(
    {"use", "with", "do", "bidirectional", "augment", "shuffle", "normalize", "amp", "pretrained"}
)
_CHOSEN = frozenset({"activation", "optimizer", "arch", "architecture", "backbone"})
_FOLDERS = frozenset({"dir", "folder", "root", "path", "directory"})
_FILES = frozenset(
    {"file", "filename", "data", "dataset", "checkpoint", "checkpoints", "ckpt", "weights", "save"}
)
_FILES_TOO = frozenset(
    {"corpus", "train", "test", "output", "out", "results", "images", "csv", "text", "log", "logs"}
)
_PATH = re.compile(r"^(\.{0,2}/|~/|[\w.-]+/)[\w./ -]*$|^[\w.-]+\.[A-Za-z][A-Za-z0-9]{0,5}$")


def words_of(name: str) -> frozenset[str]:
    """Return the words of a name in snake case or camel case, in lower case.

    >>> sorted(words_of("batchSize"))
    ['batch', 'batchsize', 'size']
    """
    return frozenset(x.lower() for x in _WORD.findall(name)) | frozenset(name.lower().split("_"))


def is_hyperparameter(name: str, kind: str) -> bool:
    """Tell whether a constant looks like something that is chosen for a run.

    Args:
        name: of the constant.
        kind: type of its value: int, float, str or bool.
    """
    words = words_of(name)
    if name.startswith("_") or words & _FIXED:
        return False
    if kind == "bool":
        return bool(words & _SWITCHES)
    if kind == "str":
        return bool(words & _CHOSEN)
    return bool(words & _TUNED) or name.lower() in _EPOCHS


def is_path(name: str, value: str) -> bool:
    """Tell whether a text looks like the path of a file or folder, by its name and by itself."""
    words = words_of(name)
    looks = bool(_PATH.match(value)) and "://" not in value
    if not value or name.startswith("_") or "device" in words:
        return False
    if words & _FOLDERS:
        return "://" not in value
    return looks and bool(words & (_FILES | _FILES_TOO))
