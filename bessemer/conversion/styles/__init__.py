"""Options of every style become options of argparse, which everything after this knows how to read.

Research code has its options in decorators (click, typer), in the parameters of a function (fire), in the
fields of a class (tyro), in flags (absl), in `sys.argv`, in dictionaries, dataclasses and files, and in
constants. Each module here finds one style in a linked program and says which options it has and what is
changed so that they are read from one object; the statements that build and parse them are put at the top.
What comes out is a program that does the same. A style that cannot be taken over is refused, or left as it is
and named.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import libcst as cst

from bessemer.conversion.normal.places import Places
from bessemer.conversion.option import Spelling
from bessemer.conversion.plan import Question
from bessemer.conversion.program import understand
from bessemer.conversion.styles.absls import find_absl
from bessemer.conversion.styles.argv import find_argv
from bessemer.conversion.styles.clicks import find_click
from bessemer.conversion.styles.configurators import find_configurator
from bessemer.conversion.styles.constants import find_constants
from bessemer.conversion.styles.files import find_files
from bessemer.conversion.styles.fires import find_fire
from bessemer.conversion.styles.locations import find_locations
from bessemer.conversion.styles.objects import find_objects
from bessemer.conversion.styles.tyros import find_tyro
from bessemer.conversion.styles.view import View
from bessemer.conversion.syntax import fresh_name, source_module, walk

__all__ = ["Restated", "Unified", "unify"]


@dataclass(frozen=True)
class Restated:
    """How the research code had an option that is now one of argparse.

    Attributes:
        code: as it stood there.
        spelling: how its command line has it; None if it cannot be given there.
        notes: what differs.
    """

    code: str
    spelling: Spelling | None
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Unified:
    """A program all of whose options are those of argparse.

    Attributes:
        module: the program.
        restated: the options that were no options of argparse, by name.
        constants: those of them that were constants, or literals in calls.
        questions: what a person should look at.
    """

    module: cst.Module
    restated: Mapping[str, Restated] = field(default_factory=dict)
    constants: frozenset[str] = frozenset()
    questions: tuple[Question, ...] = ()


_STYLES: tuple[Callable[[View, Path], None], ...] = (
    lambda view, _: find_click(view),
    lambda view, _: find_fire(view),
    lambda view, _: find_tyro(view),
    lambda view, _: find_absl(view),
    lambda view, _: find_argv(view),
    find_configurator,
    find_files,
    lambda view, _: find_objects(view),
)


def unify(module: cst.Module, places: Places, root: Path, held: Collection[str] | None = None) -> Unified:
    """Make options of argparse of whatever options a program has.

    Args:
        module: a program in one module.
        places: where its nodes stood.
        root: the folder of the research code.
        held: constants that stay constants; None for all of them.

    Raises:
        ConversionError: its options cannot become settings.
    """
    program = understand(module, "", places.known)
    places.learn(program.stood)
    view = View(program, places)
    for style in _STYLES:
        style(view, root)
    num_others = len(view.settings)
    if held is not None:
        find_constants(view, held)
        find_locations(view, held)
    if not view.edits:
        return Unified(module, questions=_questions(view))
    return Unified(
        _with_parser(view),
        {x.name: Restated(x.code, x.spelling, x.notes) for x in view.settings},
        frozenset(x.name for x in view.settings[num_others:]),
        _questions(view),
    )


def _questions(view: View) -> tuple[Question, ...]:
    return tuple(Question(*x) for x in view.remarks)


def _with_parser(view: View) -> cst.Module:
    """Return the changed module, with the statements that add the options to a parser."""
    if not view.settings:
        return view.edits.made(view.program.module, view.places)
    argparse, imported = _argparse(view)
    if view.own_parse is not None:
        added = _added(view, view.own_parser, argparse)
        view.edits.before.setdefault(view.own_parse, []).extend(added)
        module = view.edits.made(view.program.module, view.places)
        return _at_top(module, imported)
    parser = fresh_name(("parser", "options_parser"), {x.value for x in walk(view.program.module, cst.Name)})
    first = view.settings[0].at
    made = _line(f"{parser} = {argparse}.ArgumentParser()")
    parsed = _line(f"{view.name} = {parser}.parse_args()")
    for statement in (made, parsed):
        view.places.put(statement, first)
    added = _added(view, parser, argparse)
    module = view.edits.made(view.program.module, view.places)
    return _at_top(module, [*imported, made, *added, parsed])


def _added(view: View, parser: str, argparse: str) -> list[cst.BaseStatement]:
    found = []
    for setting in view.settings:
        statement = setting.added(parser, argparse)
        view.places.put(statement, setting.at)
        found.append(statement)
    return found


def _argparse(view: View) -> tuple[str, list[cst.BaseStatement]]:
    """Return what the program calls argparse, and the import that it lacks.

    The import has no place: the research code does not have it, and the project will not.
    """
    names = {x.value for x in walk(view.program.module, cst.Name)}
    if any(map(_imports_argparse, view.program.module.body)):
        return "argparse", []
    name = fresh_name(("argparse", "options_argparse"), names)
    return name, [_line("import argparse" if name == "argparse" else f"import argparse as {name}")]


def _at_top(module: cst.Module, added: list[cst.BaseStatement]) -> cst.Module:
    """Put statements behind the docstring, the imports from `__future__`, and the import of argparse."""
    if not added:
        return module
    num_first = 1 if module.get_docstring() is not None else 0
    for number, statement in enumerate(module.body):
        imports = walk(statement, cst.ImportFrom) if isinstance(statement, cst.SimpleStatementLine) else ()
        if any(source_module(x) == "__future__" for x in imports) or _imports_argparse(statement):
            num_first = number + 1
        if _imports_argparse(statement):
            break
    return module.with_changes(body=[*module.body[:num_first], *added, *module.body[num_first:]])


def _imports_argparse(statement: cst.BaseStatement) -> bool:
    lines = walk(statement, cst.Import) if isinstance(statement, cst.SimpleStatementLine) else ()
    return any(x.evaluated_name == "argparse" and x.asname is None for node in lines for x in node.names)


def _line(code: str) -> cst.BaseStatement:
    statement = cst.parse_statement(code + "\n")
    assert isinstance(statement, cst.BaseStatement)
    return statement
