"""What the command line prints when something has ended: results, findings."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from bessemer.training.account import total
from bessemer.training.folders import LOGS_FOLDER, SETTINGS_FILE
from bessemer.utils.console import duration, number
from bessemer.utils.jobs import is_job

if TYPE_CHECKING:
    from bessemer.training.account import Account
    from bessemer.training.preparation import Prepared
    from bessemer.training.trainer import Outcome

# With the columns before them, the words on an account fill a terminal of 80 columns.
_ACCOUNT_WORDS_WIDTH = 38
_LEAST_SHOWN_S = 0.001
_MILLISECONDS_BELOW_S = 0.1


def show_outcome(console: Console, project: str, outcome: Outcome) -> None:
    """Print the result of a training run, where things are, and the next commands."""
    from bessemer.training.storage import url_of

    console.print()
    again = f", {outcome.num_attempts} attempts" if outcome.num_attempts > 1 else ""
    console.print(
        f"trained {project} for {outcome.step} steps in {duration(outcome.duration_s)}{again}",
        style="bold",
        highlight=False,
    )
    metrics = "  ".join(f"{name} {number(value)}" for name, value in outcome.metrics.items())
    best = "none: the program ended before its first checkpoint"
    if outcome.checkpoint is not None:
        best = relative(outcome.checkpoint.path)
    lines = [
        ("result", metrics or "no metrics were logged"),
        ("checkpoint", best),
        ("run", f"{outcome.tracked.run_id} in MLflow, experiment {outcome.tracked.experiment_id}"),
        ("logs", relative(outcome.run_dir / LOGS_FOLDER)),
        *([("storage", url)] if (url := url_of(outcome.run_dir)) else []),
        *account_lines(outcome.account),
        *_next_lines(project, outcome.run_dir),
    ]
    for name, text in lines:
        console.print(f"{name:<12}{text}", markup=False, highlight=False, soft_wrap=True)


def _next_lines(project: str, run_dir: Path) -> list[tuple[str, str]]:
    """Return the next commands, for whoever reads this: at this machine, or at the one that sent the job."""
    if is_job():
        return [
            ("next", f"{f'bessemer submit evaluate --project {project}':<48} # judge its checkpoint again")
        ]
    return [
        ("next", f"{'make mlflow':<48} # look at the run"),
        ("", f"{f'make evaluate PROJECT={project}':<48} # judge its checkpoint again"),
        ("", f'make train PROJECT={project} ARGS="--config {relative(run_dir / SETTINGS_FILE)}"'),
    ]


def account_lines(account: Account) -> list[tuple[str, str]]:
    """Return where the time went as lines with a name in front, the first of them with one."""
    parts = [
        ("start-up", account.startup_s, _startup_words(account)),
        ("steps", account.steps_s, _steps_words(account)),
        ("data wait", account.data_wait_s, [f"{account.data_wait_fraction:.0%} of training"]),
        ("checkpoints", account.checkpoint_s, _checkpoint_words(account)),
        ("other", account.other_s, ["evaluation", "all between loops"]),
        ("recovery", account.recovery_s, _recovery_words(account)),
        ("end", account.end_s, ["last writes", "workers end"]),
    ]
    lines = []
    for name, seconds, words in parts:
        # What there was none of needs no line, but that training waited for nothing is worth one.
        if seconds < _LEAST_SHOWN_S and name not in ("start-up", "steps", "data wait"):
            continue
        share = seconds / account.total_s if account.total_s else 0.0
        first, *more = _filled(words, _ACCOUNT_WORDS_WIDTH)
        lines.append(f"{name:<12}{_brief(seconds):>11}{share:>5.0%}  {first}".rstrip())
        lines += [f"{'':<30}{text}" for text in more]
    return [("" if number else "time", text) for number, text in enumerate(lines)]


def _startup_words(account: Account) -> list[str]:
    named = [
        ("cluster", account.cluster_s),
        ("workers", account.workers_s),
        ("program", account.program_s),
    ]
    return [f"{name} {_brief(seconds)}" for name, seconds in named if seconds is not None]


def _steps_words(account: Account) -> list[str]:
    mean = [f"{_brief(account.step_s)} each"] if account.step_s is not None else []
    begun = f" from step {account.begun_after:,} on" if account.begun_after else ""
    return [f"{account.num_steps:,}{begun}", *mean]


def _checkpoint_words(account: Account) -> list[str]:
    return [f"{account.num_checkpoints:,}", f"the longest {_brief(account.longest_checkpoint_s)}"]


def _recovery_words(account: Account) -> list[str]:
    restarts = account.recoveries
    longest = _brief(max((restart.until_new_step_s for restart in restarts), default=0.0))
    words = ["1 restart", f"{longest} to a new step"]
    if len(restarts) > 1:
        words = [f"{len(restarts)} restarts", f"up to {longest} to a new step"]
    parts = [
        ("noticed", total(restart.noticed_s for restart in restarts)),
        ("restarted", total(restart.restarted_s for restart in restarts)),
        ("loaded", total(restart.restored_s for restart in restarts)),
        ("first step", total(restart.first_step_s for restart in restarts)),
    ]
    words += [f"{name} {_brief(seconds)}" for name, seconds in parts if seconds is not None]
    again_s = total(restart.again_s for restart in restarts)
    again = f"{'' if account.is_exact else 'at least '}{account.num_steps_again:,} steps again"
    return [*words, again, *([f"in {_brief(again_s)}"] if again_s else [])]


def _filled(words: Sequence[str], width: int) -> list[str]:
    """Put pieces of text, with commas between them, into lines of at most so many characters."""
    lines = [""]
    for place, word in enumerate(words, 1):
        piece = word + ("," if place < len(words) else "")
        joined = f"{lines[-1]} {piece}".lstrip()
        if len(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(piece)
    return lines


def _brief(seconds: float) -> str:
    """Format a time that may be far below a second."""
    if not 0 < seconds < _MILLISECONDS_BELOW_S:
        return duration(seconds)
    return f"{1000 * seconds:.0f} ms" if seconds >= 0.01 else f"{1000 * seconds:.2g} ms"


@contextlib.contextmanager
def preparing(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Show bars of data that are being prepared; yields what is told name, items done, items in all."""
    if not console.is_terminal:
        yield lambda name, done, total: None
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as bars:
        known: dict[str, TaskID] = {}

        def progress(name: str, done: int, total: int) -> None:
            if name not in known:
                known[name] = bars.add_task(f"preparing {name}", total=total)
            bars.update(known[name], completed=done)

        yield progress


def show_prepared(console: Console, project: str, prepared: Sequence[Prepared], has_own: bool) -> None:
    """Print what was prepared, what was left as it was, and what is made in each pass."""
    for each in prepared:
        reason = f" ({each.reason})" if each.reason else ""
        line = f"{each.name}: {each.state}{reason}"
        if each.made is not None:
            manifest = each.made.manifest
            parts = [f"{name} {split.num_rows:,}" for name, split in manifest.splits.items()]
            num_bytes = sum(split.num_bytes for split in manifest.splits.values())
            num_shards = sum(len(split.shards) for split in manifest.splits.values())
            kept = f", {each.made.num_kept} of them there already" if each.made.num_kept else ""
            line += (
                f"; samples: {', '.join(parts)}; {shown_bytes(num_bytes)} in {num_shards} "
                f"shard{'s' if num_shards != 1 else ''}{kept}; {relative(each.made.folder)}"
            )
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if not prepared and not has_own:
        console.print(
            f"nothing to preprocess: {project} defines no preprocess(settings), and its settings have no "
            'preparation.source and data.cache = "none"',
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def shown_bytes(count: int) -> str:
    """Format a size.

    >>> shown_bytes(1536)
    '1.5 KiB'
    """
    size = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{count} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def relative(path: Path | str) -> str:
    """Return a path from the working directory if it lies there, for reading and copying."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return str(path)
