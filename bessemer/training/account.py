"""Where the time of a run went: the driver's side of the account, as plain arithmetic.

The main worker tells what it counted (`Tally`), the driver knows when it was called and when it asked
for workers. Every second of the command is in one of: start-up, steps, data wait, checkpoints, other,
recovery, end. What nobody measured is None, never a guess. Clocks of several machines meet here, so a
part may be off by as much as these differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from bessemer.utils.events import Event, FailureNoticed, Tally


@dataclass(frozen=True)
class Recovery:
    """What a failure cost, from the last sign of life of an attempt to the first new step of the next.

    Attributes:
        noticed_s: until Ray Train noticed (seconds), or None if it did not say.
        restarted_s: from then on, until a new main worker ran the job (seconds).
        restored_s: until the checkpoint was put back (seconds), or None where there was none.
        first_step_s: until the first step (seconds), or None if there was none.
        again_s: until the first step that had not been done before (seconds), or None if there was none.
        num_again: steps that were computed again (count).
        is_exact: whether the failed attempt told its last step; if not, there may have been more.
    """

    noticed_s: float | None
    restarted_s: float
    restored_s: float | None
    first_step_s: float | None
    again_s: float | None
    num_again: int
    is_exact: bool

    @property
    def until_step_s(self) -> float:
        """Time without training (seconds)."""
        return sum(
            part_s or 0.0 for part_s in (self.noticed_s, self.restarted_s, self.restored_s, self.first_step_s)
        )

    @property
    def until_new_step_s(self) -> float:
        """Time without progress (seconds)."""
        return self.until_step_s + (self.again_s or 0.0)


@dataclass(frozen=True)
class Account:
    """Where the time of one command went; steps and stalls are those of the main worker.

    Attributes:
        total_s: from the call to its end (seconds).
        startup_s: from the call to the first step (seconds).
        cluster_s: of that, until workers were asked for (seconds), or None.
        workers_s: of that, until the main worker ran the job (seconds), or None.
        program_s: of that, until the first step was done (seconds), or None.
        num_steps: optimizer steps that were computed, those computed again included (count).
        steps_s: time of steps (seconds).
        step_s: mean time of a step after an attempt's first one (seconds), or None.
        data_wait_s: waiting for batches (seconds).
        data_wait_fraction: share of the time of training, in [0, 1].
        num_checkpoints: checkpoints that were taken (count).
        checkpoint_s: training stood still for them (seconds).
        longest_checkpoint_s: the longest of these stalls (seconds).
        other_s: evaluation and what else lies between the steps (seconds).
        recovery_s: from failures to the first step after them, attempts without a step included (seconds).
        recoveries: one for each restart.
        num_steps_again: steps that were computed again (count).
        end_s: from the last sign of training to the end (seconds).
        last_step: last step of the run (count).
    """

    total_s: float
    startup_s: float
    cluster_s: float | None
    workers_s: float | None
    program_s: float | None
    num_steps: int
    steps_s: float
    step_s: float | None
    data_wait_s: float
    data_wait_fraction: float
    num_checkpoints: int
    checkpoint_s: float
    longest_checkpoint_s: float
    other_s: float
    recovery_s: float
    recoveries: tuple[Recovery, ...]
    num_steps_again: int
    end_s: float
    last_step: int

    @property
    def is_exact(self) -> bool:
        """Whether no more steps were computed again than it says."""
        return all(recovery.is_exact for recovery in self.recoveries)

    @property
    def begun_after(self) -> int:
        """Steps of the run that earlier commands took (count)."""
        return max(0, self.last_step - (self.num_steps - self.num_steps_again))

    def metrics(self) -> dict[str, float]:
        """Return what is known by the names that it has in MLflow, where they stand behind `train/`."""
        values = {
            "total_s": self.total_s,
            "startup_s": self.startup_s,
            "startup/cluster_s": self.cluster_s,
            "startup/workers_s": self.workers_s,
            "startup/program_s": self.program_s,
            "num_steps": self.num_steps,
            "steps_s": self.steps_s,
            "step_s": self.step_s,
            "data_wait_s": self.data_wait_s,
            "data_wait_fraction": self.data_wait_fraction,
            "num_checkpoints": self.num_checkpoints,
            "checkpoint_s": self.checkpoint_s,
            "longest_checkpoint_s": self.longest_checkpoint_s,
            "other_s": self.other_s,
            "end_s": self.end_s,
            "num_restarts": len(self.recoveries),
            "recovery_s": self.recovery_s,
            "recovery/noticed_s": total(r.noticed_s for r in self.recoveries),
            "recovery/restarted_s": total(r.restarted_s for r in self.recoveries),
            "recovery/restored_s": total(r.restored_s for r in self.recoveries),
            "recovery/first_step_s": total(r.first_step_s for r in self.recoveries),
            "recovery/again_s": total(r.again_s for r in self.recoveries),
            "num_steps_again": self.num_steps_again,
        }
        return {f"usage/{name}": float(value) for name, value in values.items() if value is not None}


def total(parts: Iterable[float | None]) -> float | None:
    """Add up what is known; None if nothing is."""
    known = [part for part in parts if part is not None]
    return sum(known) if known else None


@dataclass
class Books:
    """What the driver gathers for the account.

    Attributes:
        called_at: when the command began (seconds since 1970).
        asked_at: when workers were asked for (seconds since 1970), or None.
        tallies: the newest of each attempt, oldest attempt first.
    """

    called_at: float = 0.0
    asked_at: float | None = None
    tallies: list[Tally] = field(default_factory=list)
    _noticed_at: dict[int, float] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        """Remember what matters of an event."""
        if isinstance(event, Tally):
            if self.tallies and self.tallies[-1].attempt == event.attempt:
                self.tallies.pop()
            self.tallies.append(event)
        elif isinstance(event, FailureNoticed):
            self._noticed_at.setdefault(len(self.tallies), event.at)

    def account(self, now: float) -> Account:
        """Draw up the account of what has been until a moment.

        Args:
            now: seconds since 1970.
        """
        first = self.tallies[0] if self.tallies else None
        trained_from = _training_from(first) if first else now
        began_at = first.began_at if first else None
        first_step_at = first.first_step_at if first else None
        recoveries = tuple(
            self._recovery(number, before, after)
            for number, (before, after) in enumerate(pairwise(self.tallies), 1)
        )
        training_s = sum(_between(_training_from(tally), tally.at) for tally in self.tallies)
        steps_s = sum(tally.steps_s for tally in self.tallies)
        data_wait_s = sum(tally.data_wait_s for tally in self.tallies)
        checkpoint_s = sum(tally.checkpoint_s for tally in self.tallies)
        # The first step of an attempt ends its start, and is no sample of a step's time.
        num_timed = sum(max(0, tally.num_steps - 1) for tally in self.tallies)
        return Account(
            total_s=_between(self.called_at, now),
            startup_s=_between(self.called_at, trained_from),
            cluster_s=_known_between(self.called_at, self.asked_at),
            workers_s=_known_between(self.asked_at, began_at),
            program_s=_known_between(began_at, first_step_at),
            num_steps=sum(tally.num_steps for tally in self.tallies),
            steps_s=steps_s,
            step_s=steps_s / num_timed if num_timed and steps_s else None,
            data_wait_s=data_wait_s,
            data_wait_fraction=min(1.0, data_wait_s / training_s) if training_s else 0.0,
            num_checkpoints=sum(tally.num_checkpoints for tally in self.tallies),
            checkpoint_s=checkpoint_s,
            longest_checkpoint_s=max((tally.longest_checkpoint_s for tally in self.tallies), default=0.0),
            other_s=max(0.0, training_s - steps_s - data_wait_s - checkpoint_s),
            recovery_s=sum(
                _between(before.at, _training_from(after)) for before, after in pairwise(self.tallies)
            ),
            recoveries=recoveries,
            num_steps_again=sum(tally.num_again for tally in self.tallies),
            end_s=_between(self.tallies[-1].at, now) if self.tallies else 0.0,
            last_step=max((tally.step for tally in self.tallies), default=0),
        )

    def _recovery(self, number: int, before: Tally, after: Tally) -> Recovery:
        noticed_at = self._noticed_at.get(number)
        if noticed_at is not None:
            # Another worker may have died before the main one told its last.
            noticed_at = max(noticed_at, before.at)
        arrived_at = after.began_at if after.restored_at is None else after.restored_at
        stepped_at = after.first_step_at
        return Recovery(
            noticed_s=_known_between(before.at, noticed_at),
            restarted_s=_between(before.at if noticed_at is None else noticed_at, after.began_at),
            restored_s=_known_between(after.began_at, after.restored_at),
            first_step_s=_known_between(arrived_at, stepped_at),
            again_s=_known_between(stepped_at, after.new_step_at),
            num_again=after.num_again,
            is_exact=before.ended,
        )


def _training_from(tally: Tally) -> float:
    """Return when an attempt's training began; where no step was done, that is its last sign of life."""
    return tally.at if tally.first_step_at is None else tally.first_step_at


def _between(begun: float, ended: float) -> float:
    return max(0.0, ended - begun)


def _known_between(begun: float | None, ended: float | None) -> float | None:
    return None if begun is None or ended is None else _between(begun, ended)
