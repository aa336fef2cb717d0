"""Which options of research code look tunable, and in what range: `[tuning.suggestions]`.

A suggestion is made from an option's name, type and default alone, and only where the name says what the
option is. The default always lies in its range. Nothing is searched until a person chooses a suggestion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bessemer.config.literals import literal
from bessemer.conversion.option import Option
from bessemer.conversion.styles.looks import words_of

Plain = int | float | bool | str

# What decides how long, how often, where or on what a program runs is no question of quality.
_NEVER = frozenset(
    {"epoch", "epochs", "seed", "interval", "log", "logging", "print", "save", "every", "freq", "frequency"}
    | {"worker", "workers", "thread", "threads", "port", "path", "dir", "file", "folder", "root", "name"}
    | {"device", "gpu", "gpus", "cuda", "rank", "test", "eval", "val", "valid", "validation", "backend"}
    | {"dataset", "data", "task", "mode", "input", "output", "image", "img", "vocab", "classes", "period"}
    | {"iters", "iterations", "patience", "verbose", "resume", "checkpoint", "ckpt"}
)
_NOT_A_RATE = frozenset(
    {"decay", "step", "steps", "schedule", "scheduler", "gamma", "factor", "warmup", "drop", "size", "mult"}
)
_SIZES = frozenset(
    {"hidden", "nhid", "nhidden", "embed", "embd", "embedding", "emb", "emsize", "dim", "width", "units"}
    | {"channels", "features", "latent", "nz", "ngf", "ndf", "filters", "planes", "neurons", "model"}
)
_LAYERS = frozenset({"layers", "layer", "nlayers", "nlayer", "depth", "blocks"})
_DROPOUTS = frozenset({"dropout", "pdrop", "droppath"})
_MOMENTA = frozenset({"momentum", "beta1", "beta2", "b1", "b2"})
_CLIPS = frozenset({"clip", "clipping", "gradclip"})


@dataclass(frozen=True)
class Range:
    """What may be tried for an option: values from `low` to `high`, or one of `choices`.

    Attributes:
        low: the smallest value, of the option's type.
        high: the largest value.
        log: whether values are uniform in their logarithm.
        choices: the values, in place of the bounds.
        why: what the option was taken for.
    """

    why: str
    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    choices: tuple[Plain, ...] = ()

    @property
    def toml(self) -> str:
        """The range as `[tuning.suggestions]` in `settings.toml` has it."""
        if self.choices:
            return f"{{choices = [{', '.join(map(_shown, self.choices))}]}}"
        assert self.low is not None
        assert self.high is not None
        log = ", log = true" if self.log else ""
        return f"{{low = {_shown(self.low)}, high = {_shown(self.high)}{log}}}"


def suggested(options: tuple[Option, ...]) -> dict[str, Range]:
    """Return the ranges of the options that look tunable, by the names of their settings."""
    found = {x.field: suggest(x.name, x.annotation, x.default) for x in options if not x.default_is_call}
    return {field: known for field, known in found.items() if known is not None}


def suggest(name: str, annotation: str, default: str | None) -> Range | None:
    """Return the range to search for an option; None if it does not look tunable.

    Args:
        name: of the option in the research code.
        annotation: of the field in the settings, such as `float` or `Literal["a", "b"]`.
        default: source code of the default; None if there is none.
    """
    value = _value(default)
    words = words_of(name)
    if value is None or words & _NEVER:
        return None
    if annotation.startswith("Literal["):
        choices = _value(f"[{annotation[8:-1]}]")
        several = isinstance(choices, list) and len(choices) > 1 and value in choices
        return Range("a choice", choices=tuple(choices)) if several else None
    if annotation == "float" and isinstance(value, int | float) and not isinstance(value, bool):
        return _fraction(words, float(value))
    if annotation == "int" and isinstance(value, int) and not isinstance(value, bool):
        return _count(words, value)
    return None


def _fraction(words: frozenset[str], value: float) -> Range | None:
    is_rate = "lr" in words or {"learning", "rate"} <= words
    if value > 0 and is_rate and not words & _NOT_A_RATE:
        return _tenfold("a learning rate", value)
    if {"weight", "decay"} <= words or words & {"wd", "weightdecay"}:
        return (
            _tenfold("a weight decay", value) if value > 0 else _between("a weight decay", 0.0, 0.01, value)
        )
    if words & _DROPOUTS or ("drop" in words and words & {"rate", "prob", "p", "path"}):
        return _between("a dropout rate", 0.0, 0.9 if value <= 0.9 else 0.999, value)
    if {"label", "smoothing"} <= words:
        return _between("label smoothing", 0.0, max(0.3, value), value) if value < 1 else None
    if words & _MOMENTA or ({"beta"} <= words and words & {"1", "2"}):
        return _between("a momentum", min(0.8, value), 0.999, value)
    if words & _CLIPS and value > 0:
        return _tenfold("a bound of gradients", value)
    if words == {"gamma"} and 0 < value < 1:
        return _between("a factor of decay", _rounded(value / 2), 0.999, value)
    return None


def _count(words: frozenset[str], value: int) -> Range | None:
    if words & {"bs", "batchsize"} or ("batch" in words and words <= {"batch", "size", "train", "mini"}):
        return Range("a batch size", choices=_powers(value)) if value >= 1 else None
    if words & _LAYERS and not words & _SIZES and 1 <= value <= 64:
        return Range("a number of layers", max(1, value // 2), value * 2)
    is_size = words & _SIZES and not words & {"num", "kernel"}
    if is_size and words != {"model"} and value >= 4:
        return Range("a size of the model", choices=_powers(value))
    return None


def _tenfold(why: str, value: float) -> Range:
    return Range(why, _rounded(value / 10), _rounded(value * 10), log=True)


def _between(why: str, low: float, high: float, value: float) -> Range | None:
    return Range(why, low, high) if low <= value <= high else None


def _powers(value: int) -> tuple[int, ...]:
    """Return the powers of two from a quarter of a number to four times as much, and the number."""
    middle = value.bit_length() - 1
    return tuple(sorted({value, *(2**x for x in range(max(0, middle - 2), middle + 3))}))


def _rounded(value: float) -> float:
    return float(f"{value:.12g}")


def _value(text: str | None) -> Any:
    try:
        return literal(text) if text is not None else None
    except ValueError:
        return None


def _shown(value: Plain) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return repr(value)
