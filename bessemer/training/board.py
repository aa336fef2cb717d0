"""What a program writes for TensorBoard goes to the run: `run.board()` in the place of a `SummaryWriter`.

The methods are those of `torch.utils.tensorboard.SummaryWriter`. Numbers become metrics, figures, images and
texts files of the run; of what has no place there, a program is told once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from bessemer.training.run import Run


class Board:
    """Writes to a run what is written for TensorBoard.

    Args:
        run: the run.
        note: tells the user something.
    """

    def __init__(self, run: Run, note: Callable[[str], None]) -> None:
        self._run = run
        self._note = note
        self._told: set[str] = set()

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def log_dir(self) -> str:
        """The run's own folder."""
        return str(self._run.output_dir)

    def get_logdir(self) -> str:
        """Return the run's own folder."""
        return self.log_dir

    def add_scalar(
        self, tag: str, scalar_value: Any, global_step: int | None = None, *_: Any, **__: Any
    ) -> None:
        """Record a metric, at the optimizer step; where no loop is run, at the step that is given."""
        self._run.log({tag: scalar_value}, self._step(global_step))

    def add_scalars(
        self, main_tag: str, tag_scalar_dict: dict[str, Any], global_step: int | None = None, *_: Any
    ) -> None:
        """Record metrics, `main_tag/name` each."""
        metrics = {f"{main_tag}/{name}": value for name, value in tag_scalar_dict.items()}
        self._run.log(metrics, self._step(global_step))

    def add_figure(
        self, tag: str, figure: Any, global_step: int | None = None, close: bool = True, *_: Any
    ) -> None:
        """Keep one matplotlib figure, or several."""
        from matplotlib import pyplot

        name = _file_name(tag, global_step)
        several = figure if isinstance(figure, list | tuple) else [figure]
        for number, one in enumerate(several):
            self._run.figure(one, f"{name}.png" if len(several) == 1 else f"{name}-{number + 1}.png")
            if close:
                pyplot.close(one)

    def add_image(
        self,
        tag: str,
        img_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        dataformats: str = "CHW",
    ) -> None:
        """Keep an image: uint8 in [0, 255], or float in [0, 1], with its dimensions as `dataformats` says."""
        from matplotlib import image

        # Colours last, for matplotlib; an image of one channel is grey.
        array = _array(img_tensor)
        order = [dataformats.index(x) for x in "HWC" if x in dataformats]
        array = np.transpose(array, order)
        if array.ndim == 3 and array.shape[2] == 1:
            array = array[:, :, 0]
        array = array if array.dtype == np.uint8 else np.clip(array, 0.0, 1.0)
        target = self._run.path(f"{_file_name(tag, global_step)}.png")
        image.imsave(target, array, vmin=0, vmax=255 if array.dtype == np.uint8 else 1, cmap="gray")

    def add_images(
        self,
        tag: str,
        img_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        dataformats: str = "NCHW",
    ) -> None:
        """Keep several images of one size."""
        inner = dataformats.replace("N", "")
        several = np.asarray(
            img_tensor.detach().cpu() if isinstance(img_tensor, torch.Tensor) else img_tensor
        )
        for number, one in enumerate(np.moveaxis(several, dataformats.index("N"), 0)):
            self.add_image(f"{tag}-{number + 1}", one, global_step, walltime, inner)

    def add_text(self, tag: str, text_string: str, global_step: int | None = None, *_: Any) -> None:
        """Keep a text."""
        self._run.path(f"{_file_name(tag, global_step)}.txt").write_text(text_string, encoding="utf-8")

    def flush(self) -> None:
        """Do nothing: what is recorded is on its way."""

    def close(self) -> None:
        """Do nothing: the run ends with the program."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        if not name.startswith("add_"):
            raise AttributeError(f"the run's board has no {name!r}")
        if name not in self._told:
            self._told.add(name)
            self._note(f"{name} of a SummaryWriter has no place in MLflow; nothing is recorded")
        return lambda *_, **__: None

    def _step(self, given: int | None) -> int | None:
        return None if self._run.is_in_loop else given


def _array(image: Any) -> np.ndarray[Any, Any]:
    return np.asarray(image.detach().cpu() if isinstance(image, torch.Tensor) else image)


def _file_name(tag: str, step: int | None) -> str:
    plain = re.sub(r"[^\w./-]+", "_", tag).strip("/.") or "untitled"
    return plain.replace("..", "_") if step is None else f"{plain.replace('..', '_')}-{step}"
