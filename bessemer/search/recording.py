"""What a search writes to its own MLflow run: figures, drawn again as it goes, and its account."""

from __future__ import annotations

import copy
import math
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from bessemer.search import figures
from bessemer.search.study import Study, Trial, epochs_in_full, epochs_trained
from bessemer.tracking import MetricWriter, TrackedRun

FIGURES_FOLDER = "figures"
_DRAW_EVERY_S = 20.0
# Drawing takes at most this share of a processor.
_DRAW_SHARE = 0.05
_FIRST_DRAWN_AFTER_S = 20.0
_FLUSH_EVERY_S = 2.0


class StudyRecorder:
    """Writes in threads of its own: a search does not wait for a figure.

    Args:
        study: what is drawn.
        tracked: its MLflow run.
        folder: of the search.
        resumed: whether an earlier driver has written to the run.
        retry_s: how long it goes on trying while MLflow does not answer (seconds).

    Attributes:
        notes: what the user is told at the end.
    """

    def __init__(
        self, study: Study, tracked: TrackedRun, folder: Path, resumed: bool, retry_s: float
    ) -> None:
        self._study = study
        self._folder = folder
        self._writer = MetricWriter(tracked, _FLUSH_EVERY_S, resumed, retry_s)
        self._changed = threading.Event()
        self._closing = threading.Event()
        self._trials: list[Trial] = []
        self.notes: list[str] = []
        self._thread = threading.Thread(target=self._serve, name="bessemer-figures", daemon=True)
        self._thread.start()

    def changed(self) -> None:
        """A trial is over; call it in the thread that changes the study."""
        trials = [trial for _, trial in sorted(self._study.trials.items())]
        over = [trial for trial in trials if trial.is_over]
        best = self._study.winner()
        if best is not None:
            value = self._study.question.value(best.loss)
            self._writer.log({f"best/{self._study.question.metric}": value}, len(over))
        self._trials = copy.deepcopy(trials)
        self._changed.set()

    def file(self, path: Path) -> None:
        """Keep a file with the run."""
        self._writer.log_file(path)

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Write metrics of the search."""
        self._writer.log({name: value for name, value in values.items() if math.isfinite(value)}, step)

    def close(self) -> None:
        """Draw what is new, write the account, and end.

        Raises:
            TrackingError: something could not be written.
        """
        trials = [trial for _, trial in sorted(self._study.trials.items())]
        self._trials = copy.deepcopy(trials)
        self._changed.set()
        self._closing.set()
        self._thread.join()
        account = {
            "search/trials": len(trials),
            "search/turns": epochs_trained(trials),
            "search/turns_in_full": epochs_in_full(trials) or math.nan,
            "search/wall_s": self._study.wall_s,
            "search/gpu_hours": self._study.gpu_s / 3600,
        }
        self.metrics(account, len(trials))
        self._writer.close()

    def _serve(self) -> None:
        try:
            drawn_at = took_s = 0.0
            while True:
                self._changed.wait()
                pause_s = max(_DRAW_EVERY_S, took_s / _DRAW_SHARE) if drawn_at else _FIRST_DRAWN_AFTER_S
                self._closing.wait(max(0.0, drawn_at + pause_s - time.monotonic()) if drawn_at else pause_s)
                last = self._closing.is_set()
                begun = time.monotonic()
                self._changed.clear()
                question, trials = self._study.question, self._trials
                for file in figures.draw(question, trials, self._folder / FIGURES_FOLDER):
                    self._writer.log_file(file, FIGURES_FOLDER)
                drawn_at = time.monotonic()
                took_s = drawn_at - begun
                if last:
                    return
        except Exception as error:
            # A search is not worth less without its figures.
            self.notes.append(f"figures could not be drawn: {type(error).__name__}: {error}")
