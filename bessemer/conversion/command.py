"""The `convert` verb, and the conversion on demand before a project is used."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from bessemer.conversion import analyze, chosen_run, convert, is_current, training_runs
from bessemer.conversion import plan as plan_of
from bessemer.conversion.plan import Plan

REPORT = "CONVERSION.md"


def convert_and_report(
    source: Path,
    out: Path,
    entry: str,
    only_plan: bool,
    json_output: bool,
    console: Console,
    run: int | None = None,
) -> None:
    """Convert a source, or only say what would be done, and print it.

    Raises:
        SourceError: the source cannot be read.
        ConversionError: it cannot be converted; nothing was written.
    """
    if only_plan:
        plan = plan_of(analyze(source, entry, run=run))
    else:
        plan = convert(source, out, entry=entry, run=run).plan
    if json_output:
        print(json.dumps({"out": None if only_plan else str(out), "plan": asdict(plan)}))
        return
    if only_plan:
        _show(console, plan)
    else:
        console.print(f"wrote {out}: {_counts(plan)}; see {out / REPORT}", highlight=False, soft_wrap=True)


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
        ConversionError: it cannot be converted; what was there is kept.
    """
    if is_current(source, out):
        return
    why = "its research code has changed" if out.exists() else "it is new"
    plan = convert(source, out, run=chosen_run(out)).plan
    console.print(f"converted {source} into {out} ({why}): {_counts(plan)}", highlight=False, soft_wrap=True)


def _short(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


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
