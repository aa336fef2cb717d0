"""The card of a model, in markdown: what it is, what made it, how good it is, what a human must add."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bessemer.config.project import Project
from bessemer.judgement.report import Report, Score

# What a converter writes about itself is no purpose.
_WRITTEN_BY = "written by Bessemer"
_MOST_CLASSES = 30


@dataclass(frozen=True)
class Facts:
    """What a card tells beside the reports.

    Attributes:
        name: of the registered model.
        purpose: in the words of the program's author; "" if there are none.
        kind: class of the model.
        num_parameters: values in it (count).
        run: name of the run.
        step: optimizer steps (count).
        choice: how the checkpoint was chosen, in words.
        sha256: of the checkpoint.
        trained_on: fingerprint and size of each data set, by what it is called.
        settings: of the training, by name.
        commit: of git; "" if unknown.
        is_dirty: whether files had been changed since that commit.
        drift: how the code that makes the model differs from that of the training; "" if it does not.
    """

    name: str
    purpose: str
    kind: str
    num_parameters: int
    run: str
    step: int
    choice: str
    sha256: str
    trained_on: Mapping[str, tuple[str, int | None]]
    settings: Mapping[str, str]
    commit: str = ""
    is_dirty: bool = False
    drift: str = ""


def purpose_of(project: Project) -> str:
    """Return what a project says that it is for: the docstring of its program, else its description."""
    module = project.entry.partition(":")[0]
    for name in (module, module.partition(".")[0]):
        base = project.root / name.replace(".", "/")
        for file in (base.with_suffix(".py"), base / "__init__.py"):
            if file.is_file():
                try:
                    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
                except (SyntaxError, UnicodeDecodeError, ValueError):
                    continue
                if text and _WRITTEN_BY not in text:
                    return text
    try:
        table = tomllib.loads((project.root / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return ""
    described = table.get("project", {}).get("description", "")
    return described if isinstance(described, str) else ""


def card(facts: Facts, reports: Sequence[Report]) -> str:
    """Write the card of a model."""
    purpose = facts.purpose or "TODO: say what this model is for; its program has no docstring."
    commit = f"`{facts.commit}`" if facts.commit else "not in a git repository"
    dirty = " with changes that were not committed" if facts.is_dirty else ""
    lines = [
        f"# {facts.name}",
        "",
        purpose,
        "",
        f"A `{facts.kind}` with {facts.num_parameters:,} parameters, from run `{facts.run}`, step "
        f"{facts.step:,} ({facts.choice}).",
        "",
        "## Metrics",
        "",
        *_metrics(reports),
        "## Data",
        "",
        *(
            f"- {name}: {f'{num:,} samples' if num is not None else 'a stream'}, fingerprint "
            f"`{fingerprint or 'none'}`"
            for name, (fingerprint, num) in facts.trained_on.items()
        ),
        "- TODO: where the data come from, who may use them, and whom they are about.",
        "",
        "## Training",
        "",
        f"- code: {commit}{dirty}",
        *(
            [f"- TODO: {facts.drift}; see whether the model is still the one that was trained."]
            if facts.drift
            else []
        ),
        f"- checkpoint: SHA-256 `{facts.sha256}`",
        *(f"- {name}: `{value}`" for name, value in facts.settings.items()),
        "",
        "## Limits",
        "",
        "- TODO: what the model must not be used for.",
        "- TODO: on whom or what it was not tested, and where it is known to fail.",
        "- TODO: who answers for it.",
        "",
    ]
    return "\n".join(lines)


def _metrics(reports: Sequence[Report]) -> list[str]:
    if not reports:
        return ["TODO: this checkpoint was not evaluated; run `bessemer evaluate`, then register again.", ""]
    lines: list[str] = []
    program = reports[0].program
    if program:
        lines += ["What the program logs when it judges itself:", "", "| metric | value |", "|---|---:|"]
        lines += [f"| {name} | {value:.6g} |" for name, value in program.items()]
        lines += [""]
    for report in reports:
        data = report.data
        of = f" of {data.num_dataset:,}" if data.num_dataset not in (None, data.num_samples) else ""
        lines += [
            f"On `{report.split}`: {data.num_samples:,}{of} samples of `{data.dataset}`, fingerprint "
            f"`{data.fingerprint or 'none'}`.",
            "",
        ]
        if report.unseen:
            lines += [f"Predictions could not be observed: {report.unseen}.", ""]
            continue
        level = f"{report.confidence:.0%} interval"
        lines += [f"| metric | value | {level} |", "|---|---:|---:|"]
        lines += [
            f"| {name} | {score.value:.6g} | {_ends(score)} |" for name, score in report.metrics.items()
        ]
        lines += ["", *_classes(report), *_slices(report)]
    return lines


def _classes(report: Report) -> list[str]:
    if not report.classes or len(report.classes) > _MOST_CLASSES:
        return []
    names = list(report.classes[0])
    lines = [f"| {' | '.join(names)} |", f"|---{'|---:' * (len(names) - 1)}|"]
    for line in report.classes:
        cells = [f"{x:.4g}" if isinstance(x, float) else str(x) for x in line.values()]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _slices(report: Report) -> list[str]:
    lines: list[str] = []
    for name, parts in report.slices.items():
        metrics = list(next(iter(parts.values())).metrics)[:3]
        lines += [
            f"| {name} | samples | {' | '.join(metrics)} |",
            f"|---|---:{'|---:' * len(metrics)}|",
            *(
                f"| {part} | {score.num_samples:,} | "
                + " | ".join(f"{score.metrics[metric].value:.4g}" for metric in metrics)
                + " |"
                for part, score in parts.items()
            ),
            "",
        ]
    return lines


def _ends(score: Score) -> str:
    if score.low is None or score.high is None:
        return "none"
    return f"{score.low:.6g} to {score.high:.6g}"
