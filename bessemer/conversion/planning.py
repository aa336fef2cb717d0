"""From an analysis to a plan: every rewrite is tried in memory, so that what is shown is what is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import libcst as cst

from bessemer.conversion.analysis import Analysis
from bessemer.conversion.notebooks.notes import with_notes
from bessemer.conversion.plan import Move, Plan, Question, Rewrite
from bessemer.conversion.reductions import Reduction, Reductions
from bessemer.conversion.rewrites import Rewritten, rewrite
from bessemer.conversion.roles import Room, assign_rooms
from bessemer.conversion.syntax import bound_name, small, walk

_NUM_WORKERS = 2


@dataclass(frozen=True, eq=False)
class Prepared:
    """A plan, and the changed program and rooms that it describes."""

    plan: Plan
    rewritten: Rewritten
    rooms: Mapping[str, Room]


def prepare(analysis: Analysis) -> Prepared:
    """Make the plan of a conversion."""
    rewritten = rewrite(analysis)
    rooms = assign_rooms(analysis, rewritten.loaders)
    reduction, asked = _loss_reduction(analysis)
    script = analysis.script
    program = script.program
    parallel = analysis.training.is_data_parallel and not analysis.state.alone
    reason = "training draws its batches from a loader, so workers can share them"
    if not analysis.training.is_data_parallel:
        reason = "training iterates no loader, so there is nothing that workers could share"
        if analysis.state.by_hand:
            reason = f"training has a loader, but {analysis.state.by_hand}"
    elif analysis.state.alone:
        reason = analysis.state.alone
    assert script.entry is not None
    modern = analysis.modern
    questions = [*analysis.state.questions, *rewritten.questions, *asked, *_kept(analysis, rewritten)]
    rewrites = (
        *modern.rewrites,
        *analysis.normal.rewrites,
        *rewritten.rewrites,
        *_idle_imports(analysis, rewritten),
    )
    questions += analysis.normal.questions
    plan = Plan(
        entry=f"{program.where(script.entry)} {script.entry.name.value}",
        num_workers=_NUM_WORKERS if parallel else 1,
        num_workers_reason=reason,
        loss_reduction=reduction,
        best_metric=analysis.logs.best_metric,
        best_mode=analysis.logs.best_mode,
        moves=_moves(analysis, rooms),
        rewrites=tuple(sorted(rewrites, key=lambda x: _line(x.where))),
        questions=tuple(sorted({*modern.questions, *questions}, key=lambda x: _line(x.where))),
        unconverted=tuple(
            sorted(
                {*modern.unconverted, *analysis.logs.unconverted, *rewritten.unconverted},
                key=lambda x: _line(x.where),
            )
        ),
    )
    return Prepared(with_notes(plan, analysis.notes), rewritten, rooms)


def _line(where: str) -> int:
    return int(where.rpartition(":")[2])


def _moves(analysis: Analysis, rooms: Mapping[str, Room]) -> tuple[Move, ...]:
    script = analysis.script
    nodes: list[tuple[str, cst.CSTNode]] = [(x.name, x.statement) for x in script.constants]
    nodes += [(x.name.value, x) for x in script.definitions]
    return tuple(
        Move(script.program.where(node), name, rooms[name].path, rooms[name].reason)
        for name, node in sorted(nodes, key=lambda pair: script.program.line(pair[1]))
    )


def _idle_imports(analysis: Analysis, rewritten: Rewritten) -> list[Rewrite]:
    """Say which imports nothing needs any more."""
    program = analysis.script.program
    imports = (cst.Import, cst.ImportFrom)
    parts: list[cst.CSTNode] = [x for x in rewritten.module.body if not isinstance(small(x), imports)]
    parts += [rewritten.loaders] if rewritten.loaders is not None else []
    used = {name.value for part in parts for name in walk(part, cst.Name)}
    idle: list[Rewrite] = []
    for statement in analysis.script.imports:
        if analysis.normal.places.known and statement not in program.stood:
            continue  # it was made with the options
        for node in walk(statement, cst.Import, cst.ImportFrom):
            if isinstance(node.names, cst.ImportStar):
                continue
            gone = [x for x in node.names if bound_name(x) not in used]
            if gone and "__future__" not in program.code(node):
                names = ", ".join(bound_name(x) for x in gone)
                reason = f"nothing uses {names} any more"
                idle.append(Rewrite(program.where(node), "imports", program.code(node), "", reason))
    return idle


def _kept(analysis: Analysis, rewritten: Rewritten) -> list[Question]:
    """Say so when loaders stay in the entry point."""
    entry = analysis.script.entry
    if rewritten.loaders is not None or entry is None or "no loader" in rewritten.kept_together:
        return []
    return [
        Question(
            analysis.script.program.where(entry),
            f"the loaders stay in {entry.name.value}: {rewritten.kept_together}",
            "nothing; or bring the lines that build loaders together, and convert again",
        )
    ]


def _loss_reduction(analysis: Analysis) -> tuple[str, list[Question]]:
    """Find out whether the loss that is minimised is a mean or a sum over the batch."""
    program = analysis.script.program
    rules = Reductions(program, analysis.kinds)
    found: dict[Reduction, cst.Attribute] = {}
    for node in walk(program.module, cst.Attribute):
        loop = analysis.training.around(program, node)
        if node.attr.value == "backward" and loop is not None and loop.trains:
            found.setdefault(rules.in_loop(node.value, loop.node), node)
    sums = {Reduction.SUM, Reduction.SIZE} & set(found)
    unclear = [x for x in found if x not in (Reduction.SUM, Reduction.MEAN, Reduction.SIZE)]
    if not unclear and len(found) <= 1:
        return ("sum" if sums else "mean"), []
    node = found[unclear[0]] if unclear else next(iter(found.values()))
    question = Question(
        program.where(node),
        f"whether {program.code(node.value)} is a mean or a sum over the batch cannot be seen here",
        "see scaling.loss_reduction in settings.toml; verification with two workers tells",
    )
    return ("sum" if sums and not unclear else "mean"), [question]
