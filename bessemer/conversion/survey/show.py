"""A survey for people: what was read, then program by program what it is and what conversion would say."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bessemer.conversion.survey.report import ProgramFound, Survey

_MAX_SKIPPED = 20
_MAX_OTHERS = 20


def show(console: Console, survey: Survey) -> None:
    """Print a survey."""
    files = survey.files
    _line(
        console,
        f"{survey.source}: {_counted(files.num_read, 'file')}, {files.num_lines:,} lines read",
        bold=True,
    )
    for skipped in files.skipped[:_MAX_SKIPPED]:
        _line(console, f"  skipped {skipped.where}: {skipped.reason}", style="yellow")
    if len(files.skipped) > _MAX_SKIPPED:
        _line(console, f"  … and {len(files.skipped) - _MAX_SKIPPED} more skipped", style="yellow")
    training = [x for x in survey.programs if x.trains]
    others = [x for x in survey.programs if not x.trains]
    if survey.kind == "folder":
        verb = "trains" if len(training) == 1 else "train"
        _line(console, f"{_counted(len(training), 'program')} {verb}, {len(others)} more without training")
    for program in training:
        console.print()
        _show_program(console, program)
    refused = [x for x in others if x.refused is not None]
    for program in refused:
        console.print()
        _line(console, f"{program.path}: no training found", bold=True)
        _show_verdict(console, program)
    rest = [x.path for x in others if x.refused is None]
    if rest:
        console.print()
        more = f", … and {len(rest) - _MAX_OTHERS} more" if len(rest) > _MAX_OTHERS else ""
        _line(console, f"no training: {', '.join(rest[:_MAX_OTHERS])}{more}")
    if not survey.programs:
        _line(console, "nothing here does anything when it is run: no training found")


def _show_program(console: Console, program: ProgramFound) -> None:
    several = f" and {_counted(len(program.files) - 1, 'local module')}" if len(program.files) > 1 else ""
    _line(console, f"{program.path}{several}, {program.num_lines:,} lines", bold=True)
    _show_verdict(console, program)
    _section(console, "runs", program.runs)
    _section(
        console,
        "data-parallel",
        [f"{'yes' if program.data_parallel.possible else 'no'}: {program.data_parallel.reason}"],
    )
    _section(console, "roles", _roles(program))
    _section(console, "loops", [f"{x.kind}|over {x.over}|{_near(x.where, program)}" for x in program.loops])
    _section(
        console,
        "options",
        [
            f"{x.name}|{'required' if x.default is None else x.default}|"
            f"{_near(x.where, program)}, {x.by}{': ' + x.help if x.help else ''}"
            for x in program.options
        ],
    )
    seeds = ", ".join(_near(x, program) for x in program.random.seeded_at)
    chance = [f"seed|{'set at ' + seeds if seeds else 'not set'}|"]
    chance += [f"{x.what}|{_times(x.count)}|{_near(x.where, program)}" for x in program.random.draws]
    _section(console, "random", chance)
    _section(console, "imports", [", ".join(program.imports) or "nothing that would have to be installed"])


def _show_verdict(console: Console, program: ProgramFound) -> None:
    if program.convertible:
        _section(console, "conversion", ["yes"], style="green")
    elif program.refused is not None:
        refused = program.refused
        lines = [*refused.found.splitlines()]
        lines += [f"expected: {refused.expected}"] if refused.expected else []
        lines += [f"to do:    {refused.todo}"] if refused.todo else []
        _section(console, "refused", lines, style="red")
    elif program.convertible is None:
        _section(console, "conversion", ["not asked, there is too much here; analyze this program alone"])


def _roles(program: ProgramFound) -> list[str]:
    """Return a line for each role: the names that have it, each with its place, definitions first."""
    found: dict[str, list[str]] = {}
    kinds = {"class": 0, "function": 0}
    for x in sorted(program.roles, key=lambda x: kinds.get(x.kind, 1)):
        call = "()" if x.kind == "function" else ""
        found.setdefault(x.role, []).append(f"{x.name}{call} {_near(x.where, program)}")
    return [f"{role}|{', '.join(names)}|" for role, names in found.items()]


def _near(where: str, program: ProgramFound) -> str:
    """Shorten a place: without the file, if that is the program's own."""
    own = where.removeprefix(program.path)
    if own != where:
        return own
    folder = str(PurePosixPath(program.path).parent)
    return where.removeprefix(f"{folder}/")


def _section(console: Console, title: str, lines: Iterable[str], style: str = "") -> None:
    """Print lines beside their title; bars divide a line into columns."""
    rows = [x.split("|", 2) for x in lines]
    if not rows:
        return
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(width=13, no_wrap=True)
    num_columns = max(map(len, rows))
    for place in range(num_columns):
        # The first column keeps its words; the others are folded.
        is_first = place == 0 and num_columns > 1
        table.add_column(no_wrap=is_first, overflow="ellipsis" if is_first else "fold")
    for number, row in enumerate(rows):
        cells = [Text(x, style=style) for x in row] + [Text("")] * (num_columns - len(row))
        table.add_row(Text(title if number == 0 else "", style="bold"), *cells)
    console.print(Padding(table, (0, 0, 0, 2)))


def _line(console: Console, text: str, *, bold: bool = False, style: str = "") -> None:
    console.print(text, style="bold" if bold else style, markup=False, highlight=False, soft_wrap=True)


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
