"""What a person sees while a run trains: one table of the model, one bar, one row an epoch.

In a pipe or a job's log the same facts come as plain lines. Nothing else is printed: Ray's and the
project's own output goes to log files.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from bessemer.utils.events import (
    AttemptStarted,
    Event,
    ModelPlaced,
    Note,
    TurnEnded,
)
from bessemer.utils.events import Progress as PassProgress

_MIN_WIDTH = 9
_WHY = {"preemption": "a node was taken away, workers restarted"}


class TrainingScreen:
    """Shows the events of a run.

    Args:
        console: where to; a terminal gets a table and a bar, anything else plain lines.
        smaller_is_better: whether a smaller value of a metric is better, None if unknown.
    """

    def __init__(
        self,
        console: Console,
        smaller_is_better: Callable[[str], bool | None] = lambda name: guess_direction(name),
    ) -> None:
        self._console = console
        self._smaller_is_better = smaller_is_better
        self._columns: tuple[str, ...] = ()
        self._best: dict[str, float] = {}
        self._durations: list[float] = []
        self._notes: set[str] = set()
        self._device = ""
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> TrainingScreen:
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                console=self._console,
                transient=True,
                # Ray's messages go where standard error goes: to a log file, not around the bar.
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._bar.start()
            self._task = self._bar.add_task("starting workers", total=None)
        return self

    def __exit__(self, *_error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, event: Event) -> None:
        """Show one event."""
        match event:
            case ModelPlaced():
                self._show_model(event)
            case AttemptStarted():
                self._show_attempt(event)
            case PassProgress():
                self._show_progress(event)
            case TurnEnded():
                self._show_turn(event)
            case Note():
                if event.text not in self._notes:
                    self._notes.add(event.text)
                    self._console.print(f"note: {event.text}", style="yellow", markup=False, soft_wrap=True)

    def _show_model(self, event: ModelPlaced) -> None:
        total = f"{event.num_parameters:,} parameters, {event.size_bytes / 2**20:.1f} MiB"
        if not self._console.is_terminal:
            self._console.print(f"model {event.kind}: {total}", markup=False, soft_wrap=True)
            return
        self._console.print(f"{event.kind}: {total}", style="bold", markup=False, highlight=False)
        table = Table(box=None, pad_edge=False)
        table.add_column("layer")
        table.add_column("type")
        table.add_column("parameters", justify="right")
        for row in event.rows:
            table.add_row(row.name, row.kind, f"{row.num_parameters:,}")
        self._console.print(table)
        self._console.print()

    def _show_attempt(self, event: AttemptStarted) -> None:
        text = f"training on {event.device}"
        if event.number > 1:
            where = "from the start" if event.resumed_step is None else f"from step {event.resumed_step}"
            text = f"attempt {event.number}: {_WHY.get(event.why, 'workers restarted')}"
            if event.why == "resize":
                text = f"attempt {event.number}: training on {event.device} now"
            elif self._device not in ("", event.device):
                text += f", now {event.device}"
            if event.waited_s > 0:
                text += f" after a wait of {duration(event.waited_s)}"
            text += f", training goes on {where}"
        elif event.resumed_step is not None:
            text += f", from step {event.resumed_step}"
        self._device = event.device
        self._console.print(text, style="bold", markup=False)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description="first batch", refresh=True)

    def _show_progress(self, event: PassProgress) -> None:
        if self._bar is None or self._task is None:
            return
        turns = f"/{event.num_turns}" if event.num_turns else ""
        self._bar.update(
            self._task,
            description=f"epoch {event.turn + 1}{turns}",
            completed=event.batch,
            total=event.num_batches,
        )

    def _show_turn(self, event: TurnEnded) -> None:
        self._durations.append(event.duration_s)
        fixed = {"time": duration(event.duration_s), "left": self._time_left(event)}
        if event.samples_per_s:
            # Without a loader there is nothing to say of samples.
            rate, wait = f"{event.samples_per_s:,.0f}", f"{event.data_wait_fraction:.0%}"
            fixed = {"samples/s": rate, "data wait": wait, **fixed}
        turns = f"/{event.num_turns}" if event.num_turns else ""
        if not self._console.is_terminal:
            metrics = "  ".join(f"{name} {number(x)}" for name, x in event.metrics.items())
            rest = "  ".join(f"{name} {text}" for name, text in fixed.items())
            line = f"{event.unit} {event.turn}{turns}  {metrics}  {rest}"
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
            return
        columns = (*event.metrics, *fixed)
        if columns != self._columns:
            self._columns = columns
            head = "".join(name.rjust(_width(name)) for name in columns)
            self._console.print(f"{event.unit:<8}{head}", style="bold", markup=False, soft_wrap=True)
        cells = [f"{f'{event.turn}{turns}':<8}"]
        for name, value in event.metrics.items():
            cell = number(value).rjust(_width(name))
            cells.append(f"[green]{cell}[/green]" if self._is_best(name, value) else cell)
        cells += [text.rjust(_width(name)) for name, text in fixed.items()]
        self._console.print("".join(cells), highlight=False, soft_wrap=True)

    def _is_best(self, name: str, value: float) -> bool:
        smaller = self._smaller_is_better(name)
        if smaller is None or math.isnan(value):
            return False
        best = self._best.get(name)
        if best is not None and (value >= best if smaller else value <= best):
            return False
        self._best[name] = value
        return True

    def _time_left(self, event: TurnEnded) -> str:
        if event.num_turns is None:
            return "?"
        mean_s = sum(self._durations) / len(self._durations)
        return duration(mean_s * (event.num_turns - event.turn))


def guess_direction(name: str) -> bool | None:
    """Say whether a smaller value is better, by the words in a metric's name; None if none tells."""
    words = set(name.lower().replace("/", "_").split("_"))
    if words & {"loss", "error", "mse", "mae", "rmse", "perplexity", "ppl", "nll"}:
        return True
    if words & {"accuracy", "acc", "f1", "auc", "bleu", "psnr", "iou", "r2", "precision", "recall"}:
        return False
    return None


def number(value: float) -> str:
    """Format a metric in at most nine characters."""
    size = abs(value)
    if value == 0 or (size < 1e6 and value == int(value)):
        return f"{value:.0f}"
    if 1e-3 <= size < 1e6:
        return f"{value:.4f}" if size < 999.99995 else f"{value:.1f}"
    text = f"{value:.3g}"
    return text if len(text) <= _MIN_WIDTH else f"{value:.2g}"


def duration(seconds: float) -> str:
    """Format a time for reading: 0.42 s, 12 s, 3 min 20 s, 2 h 05 min."""
    if seconds < 0.001:
        return "0 s"
    if seconds < 9.95:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _width(name: str) -> int:
    return max(_MIN_WIDTH, len(name)) + 2
