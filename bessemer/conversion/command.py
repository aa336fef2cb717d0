"""The `convert` verb, and the conversion on demand before a project is used; what they say of files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from bessemer.conversion import chosen_run, convert, foresee, is_current, training_runs
from bessemer.conversion.plan import Plan
from bessemer.conversion.writing import emission, placing
from bessemer.conversion.writing.merging import Change, Kind

REPORT = "CONVERSION.md"

# How the kinds of changes are counted, in this order, and which of them are shown by name.
_COUNTED = {
    Kind.NEW: "new",
    Kind.UPDATED: "updated",
    Kind.MERGED: "merged",
    Kind.KEPT: "yours kept",
    Kind.REMOVED: "removed",
    Kind.LEFT: "no longer written, yours kept",
    Kind.DELETED: "deleted by you",
    Kind.CONFLICT: "in conflict",
    Kind.UNCHANGED: "unchanged",
}
_NAMED = (Kind.MERGED, Kind.LEFT, Kind.DELETED, Kind.CONFLICT)


def convert_and_report(
    source: Path,
    out: Path,
    entry: str,
    only_plan: bool,
    json_output: bool,
    console: Console,
    run: int | None = None,
) -> bool:
    """Convert a source, or only say what would be done, print it, and return whether there are conflicts.

    Raises:
        SourceError: the source cannot be read.
        ConversionError: it cannot be converted; nothing was written.
    """
    perform = foresee if only_plan else convert
    done = perform(source, out, entry=entry, run=run)
    if json_output:
        shown = {"out": None if only_plan else str(out), "plan": asdict(done.plan)}
        print(json.dumps({**shown, "changes": [asdict(change) for change in done.changes]}))
        return bool(done.conflicts)
    if only_plan:
        _show(console, done.plan)
    else:
        counts = _counts(done.plan)
        console.print(f"wrote {out}: {counts}; see {out / REPORT}", highlight=False, soft_wrap=True)
    _show_changes(console, done.changes)
    if done.conflicts and not only_plan:
        console.print(
            "to do: of the lines between <<<<<<< yours and >>>>>>> converted leave what is right, and no "
            "mark; delete a file again that you do not want; then train, or convert again",
            highlight=False,
            soft_wrap=True,
        )
    return bool(done.conflicts)


def list_runs(source: Path, json_output: bool, console: Console) -> None:
    """Print the training runs of a notebook, as `--run` counts them.

    Raises:
        SourceError: the source cannot be read.
    """
    runs = training_runs(source)
    if json_output:
        print(json.dumps({"runs": runs}))
        return
    for line in runs:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if not runs:
        console.print(f"{source}: no training run at the level of a notebook's cells", highlight=False)


def bring_up_to_date(source: Path, out: Path, console: Console) -> None:
    """Convert a source whose project is missing or was written from an older version of it.

    Raises:
        SourceError: the source cannot be read.
        ConversionError: it cannot be converted, or changes exclude each other; what was there is kept.
    """
    placing.settle(out)
    emission.check_settled(out)
    if is_current(source, out):
        return
    is_new = not out.exists()
    done = convert(source, out, run=chosen_run(out), allow_conflicts=False)
    why = "it is new" if is_new else "its research code has changed"
    text = f"converted {source} into {out} ({why}): {_counts(done.plan)}"
    console.print(text, highlight=False, soft_wrap=True)
    if not is_new:
        _show_changes(console, done.changes)


def _show_changes(console: Console, changes: Sequence[Change]) -> None:
    """Print how many files became what, and by name those that a person may want to look at."""
    counted = Counter(change.kind for change in changes)
    parts = [f"{counted[kind]} {words}" for kind, words in _COUNTED.items() if counted[kind]]
    console.print(f"files: {', '.join(parts)}", highlight=False, soft_wrap=True)
    for change in changes:
        if change.kind in _NAMED:
            lines = ", ".join(str(line) for line in change.lines)
            place = f"{change.file}:{lines}" if lines else change.file
            if change.kind is Kind.CONFLICT and not lines:
                place += " (deleted by you, changed by conversion: written again)"
            text = f"  {_COUNTED[change.kind]}: {place}"
            console.print(text, markup=False, highlight=False, soft_wrap=True)


def _counts(plan: Plan) -> str:
    parts = [f"{len(plan.moves)} moves", f"{len(plan.rewrites)} rewrites"]
    parts += (
        [f"{num_questions} question{'s' * (num_questions > 1)}"]
        if (num_questions := len(plan.questions))
        else []
    )
    parts += [f"{len(plan.unconverted)} not converted"] if plan.unconverted else []
    return ", ".join(parts)


def _show(console: Console, plan: Plan) -> None:
    console.print(f"entry point {plan.entry}", highlight=False)
    console.print(f"workers {plan.num_workers}: {plan.num_workers_reason}", highlight=False)
    for move in plan.moves:
        console.print(f"move       {move.where:<18} {move.name} -> {move.room}", highlight=False)
    for rewrite in plan.rewrites:
        console.print(
            f"rewrite    {rewrite.where:<18} {rewrite.kind}: {rewrite.reason}",
            markup=False,
            highlight=False,
        )
    for question in plan.questions:
        console.print(f"question   {question.where:<18} {question.reason}", markup=False, highlight=False)
    for left in plan.unconverted:
        console.print(f"unconverted {left.where:<17} {left.reason}", markup=False, highlight=False)
    console.print(_counts(plan), style="bold", highlight=False)
