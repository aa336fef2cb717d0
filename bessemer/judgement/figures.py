"""Figures of an evaluation, drawn with matplotlib without a display and without its global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bessemer.judgement.metrics.measure import Floats, Ints

_DPI = 120
_MOST_NUMBERED = 20
_MOST_NAMED = 40
_BLUE, _RED, _GREY = "#2b6cb0", "#c53030", "#718096"
_MOST_POINTS = 5_000


def _new(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _write(figure: Figure, file: Path) -> str:
    figure.savefig(file, dpi=_DPI, bbox_inches="tight")
    return file.name


def confusion(confusion_cc: Ints, names: Sequence[str], title: str, file: Path) -> str:
    """Draw which classes are taken for which; each row is a class and adds up to one."""
    num = len(confusion_cc)
    size = float(np.clip(0.42 * num, 4.2, 11))
    figure = _new(size + 1.2, size)
    axes = figure.add_subplot()
    share = confusion_cc / np.maximum(1, confusion_cc.sum(1, keepdims=True))
    # Of many classes each is rarely taken for any one other: that must be seen, too.
    norm = PowerNorm(1.0 if num <= _MOST_NUMBERED else 0.4, 0, 1)
    image = axes.imshow(share, cmap="Blues", norm=norm, interpolation="nearest")
    axes.set(xlabel="predicted", ylabel="actual", title=title)
    every = max(1, -(-num // _MOST_NAMED))
    if every > 1:
        every = next(step for step in (2, 5, 10, 20, 50, 100, 200, 500, 1000, 10**9) if step >= every)
    ticks = list(range(0, num, every))
    labels = [_short(names[place]) for place in ticks]
    slanted = max(len(label) for label in labels) > 3
    axes.set_xticks(ticks, labels, rotation=90 if slanted else 0, fontsize=8)
    axes.set_yticks(ticks, labels, fontsize=8)
    if num <= _MOST_NUMBERED:
        for row, column in zip(*np.nonzero(confusion_cc), strict=True):
            colour = "white" if share[row, column] > 0.5 else "black"
            number = f"{confusion_cc[row, column]}"
            axes.text(column, row, number, ha="center", va="center", color=colour, fontsize=8)
    figure.colorbar(image, ax=axes, label="share of the actual class", fraction=0.046)
    return _write(figure, file)


def reliability(arrays: Mapping[str, NDArray[Any]], error: float, title: str, file: Path) -> str:
    """Draw how often the model is right where it says that it is so sure, and how many samples those are."""
    count, confidence, accuracy = (arrays[f"bin_{name}"] for name in ("count", "confidence", "accuracy"))
    num_bins = len(count)
    centre = (np.arange(num_bins) + 0.5) / num_bins
    figure = _new(5, 5.4)
    above, below = figure.subplots(2, 1, height_ratios=[4, 1], sharex=True)
    seen = count > 0
    above.plot([0, 1], [0, 1], "--", color=_GREY, linewidth=1, label="as sure as right")
    above.bar(centre[seen], accuracy[seen], 0.9 / num_bins, color=_BLUE, alpha=0.35)
    above.plot(confidence[seen], accuracy[seen], "o-", color=_BLUE, markersize=4, label="model")
    above.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share of right answers", title=title)
    above.legend(loc="upper left", frameon=False, title=f"calibration error {error:.4f}", alignment="left")
    below.bar(centre, count, 0.9 / num_bins, color=_GREY)
    below.set(xlabel="confidence in the answer", ylabel="samples")
    below.set_yscale("log" if count.max() > 50 * max(1, np.median(count[seen])) else "linear")
    return _write(figure, file)


def scatter(prediction_nk: Floats, target_nk: Floats, title: str, file: Path) -> str:
    """Draw predicted against actual numbers; of many samples, some that are spread over them."""
    chosen = np.unique(np.linspace(0, len(target_nk) - 1, min(len(target_nk), _MOST_POINTS)).astype(int))
    predicted, actual = prediction_nk[chosen].ravel(), target_nk[chosen].ravel()
    figure = _new(5, 5)
    axes = figure.add_subplot()
    axes.plot(actual, predicted, "o", color=_BLUE, markersize=3, alpha=0.4, markeredgewidth=0)
    ends = [min(actual.min(), predicted.min()), max(actual.max(), predicted.max())]
    axes.plot(ends, ends, "--", color=_GREY, linewidth=1)
    axes.set(xlabel="actual", ylabel="predicted", title=title, aspect="equal", box_aspect=1)
    return _write(figure, file)


def bars(lines: Sequence[Mapping[str, Any]], value: str, title: str, file: Path) -> str:
    """Draw a metric of each class, smallest first; of many classes, the smallest."""
    known = [line for line in lines if line[value] == line[value]]
    shown = sorted(known, key=lambda line: line[value])[:_MOST_NAMED]
    figure = _new(6, max(2.0, 0.25 * len(shown) + 1))
    axes = figure.add_subplot()
    axes.barh(range(len(shown)), [line[value] for line in shown], color=_BLUE)
    axes.set_yticks(range(len(shown)), [_short(line["class"]) for line in shown], fontsize=8)
    axes.invert_yaxis()
    some = f", the lowest {len(shown)} of {len(known)}" if len(known) > len(shown) else ""
    axes.set(xlabel=value, xlim=(0, 1), title=title + some)
    return _write(figure, file)


def is_picture(array: NDArray[Any]) -> bool:
    """Whether an input looks like a picture: [H, W], [1 or 3, H, W] or [H, W, 3], not tiny."""
    picture = _as_picture(array)
    return picture is not None and min(picture.shape[:2]) >= 4


def worst(pictures: Sequence[tuple[NDArray[Any], str]], title: str, file: Path) -> str:
    """Draw the samples that went worst.

    Args:
        pictures: inputs as `is_picture` has them, with a few short lines each.
        title: of the figure.
        file: to write.
    """
    columns = min(len(pictures), 4)
    rows = -(-len(pictures) // columns)
    figure = _new(2.1 * columns, 2.5 * rows + 0.4)
    figure.suptitle(title, fontsize=11)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (array, caption) in zip(grid.flat, pictures, strict=False):
        picture = _as_picture(array)
        assert picture is not None
        picture = picture.astype(np.float64)
        low, high = float(picture.min()), float(picture.max())
        axes.imshow((picture - low) / ((high - low) or 1.0), cmap="gray", interpolation="nearest")
        axes.set_title(caption, fontsize=8)
    return _write(figure, file)


def differences(rows: Sequence[tuple[str, float, float, float]], title: str, file: Path) -> str:
    """Draw differences with their intervals: (name, value, low, high), one below the other."""
    figure = _new(6.5, 0.45 * len(rows) + 1.4)
    axes = figure.add_subplot()
    for place, (_, value, low, high) in enumerate(rows):
        colour = _GREY if low <= 0 <= high else _BLUE
        axes.plot([low, high], [place, place], color=colour, linewidth=2)
        axes.plot([value], [place], "o", color=colour)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [name for name, *_ in rows])
    axes.set(xlabel="difference", title=title, ylim=(len(rows) - 0.5, -0.5))
    return _write(figure, file)


def _as_picture(array: NDArray[Any]) -> NDArray[Any] | None:
    if array.ndim == 3 and array.shape[0] in (1, 3):
        array = array[0] if array.shape[0] == 1 else np.moveaxis(array, 0, -1)
    grey = array.ndim == 2
    return array if grey or (array.ndim == 3 and array.shape[2] == 3) else None


def _short(name: Any, width: int = 14) -> str:
    text = str(name)
    return text if len(text) <= width else text[: width - 1] + "…"
