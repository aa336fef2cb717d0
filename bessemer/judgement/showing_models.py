"""What the verbs of the model registry print, and what they give to other programs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from bessemer.judgement.marks import RUN_TAG, STEP_TAG, mark_of
from bessemer.judgement.promotion import PREVIOUS, Promotion
from bessemer.judgement.registration import Registered
from bessemer.judgement.showing import say
from bessemer.tracking import Version
from bessemer.utils.console import number


def show_registered(console: Console, project: str, made: Registered) -> None:
    """Print what came of a registration."""
    version = made.version
    run, step = version.tags.get(RUN_TAG, "?"), version.tags.get(STEP_TAG, "?")
    if not made.is_new:
        card = "; its card was brought up to date" if made.card_changed else ""
        say(
            console,
            f"unchanged: {version.label} is of this checkpoint (run {run}, step {step}){card}",
            style="green",
        )
    else:
        say(console, f"registered {version.label}: run {run}, step {step}, as {made.form}", style="bold")
    say(console, f"aliases  {', '.join(version.aliases) or 'none'}")
    judged = ", ".join(f"{report.split} ({report.data.num_samples:,} samples)" for report in made.reports)
    say(
        console, f"card     {f'with metrics on {judged}' if judged else 'without metrics: not evaluated yet'}"
    )
    say(console, f"load     mlflow.pyfunc.load_model('models:/{version.label}')")
    say(console, f"next     bessemer promote --project {project} --to champion")


def registered_as_json(made: Registered) -> dict[str, Any]:
    """Return what came of a registration for other programs."""
    return {
        **_as_dict(made.version),
        "is_new": made.is_new,
        "form": made.form,
        "card_changed": made.card_changed,
        "splits": [report.split for report in made.reports],
    }


def show_promotion(console: Console, done: Promotion) -> None:
    """Print the conditions of a gate, and what came of them."""
    label = done.version.label
    if done.was_there:
        say(console, f"{label} is the {done.place} already: nothing is changed", style="green")
        return
    for condition in done.conditions:
        mark, style = ("holds", "green") if condition.holds else ("fails", "red")
        console.print(f"[{style}]{mark}[/]  ", end="", highlight=False)
        say(console, f"{condition.name}: {condition.found}")
        if not condition.holds and condition.todo:
            say(console, f"       to do: {condition.todo}")
    if not done.done:
        stays = f"{done.before.label} stays the {done.place}" if done.before else f"there is no {done.place}"
        say(console, f"{label} is not promoted; {stays}", style="bold")
        return
    why = f", by force: {done.forced}" if done.forced else ""
    before = f"; {done.before.label} is the {PREVIOUS} one now" if done.before else ""
    say(console, f"{label} is the {done.place}{why}{before}", style="bold")


def promotion_as_json(done: Promotion) -> dict[str, Any]:
    """Return what came of a promotion for other programs."""
    return {
        "promoted": done.done,
        "place": done.place,
        "version": _as_dict(done.version),
        "before": _as_dict(done.before) if done.before is not None else None,
        "metric": done.rule.metric,
        "conditions": [asdict(condition) for condition in done.conditions],
        "forced": done.forced,
        "was_there": done.was_there,
    }


def show_models(console: Console, name: str, known: Sequence[Version], metric: str, split: str) -> None:
    """Print the versions of a model, newest first."""
    if not known:
        say(console, f"no version of the model {name} is registered; bessemer register makes one")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("version", "aliases", "run", "step", metric or "metric", "on", "made"):
        table.add_column(column, justify="right" if column in ("step", metric, "metric") else "left")
    for version in reversed(known):
        mark = mark_of(version, metric, split)
        table.add_row(
            str(version.number),
            ", ".join(version.aliases),
            version.tags.get(RUN_TAG, ""),
            version.tags.get(STEP_TAG, ""),
            number(mark.value) if mark.value is not None else "–",  # noqa: RUF001
            mark.split,
            time.strftime("%Y-%m-%d %H:%M", time.localtime(version.created_at)),
        )
    console.print(table)


def models_as_json(known: Sequence[Version], metric: str, split: str) -> list[dict[str, Any]]:
    """Return the versions of a model for other programs."""
    found = []
    for version in known:
        mark = mark_of(version, metric, split)
        found.append({**_as_dict(version), "metric": metric, "value": mark.value, "split": mark.split})
    return found


def _as_dict(version: Version) -> dict[str, Any]:
    return {
        "name": version.name,
        "version": version.number,
        "aliases": list(version.aliases),
        "run": version.tags.get(RUN_TAG, ""),
        "step": version.tags.get(STEP_TAG, ""),
        "created_at": version.created_at,
    }
