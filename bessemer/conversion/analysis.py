"""Everything that is known about a program before a line of it is changed.

`Analysis` gathers what the other modules find out, in the order in which they need each other. It
is made once; the plan and all rewrites read it.
"""

from __future__ import annotations

from dataclasses import dataclass

import libcst as cst

from bessemer.config.settings import SECTIONS
from bessemer.conversion.inference import Kinds
from bessemer.conversion.kinds import Kind
from bessemer.conversion.logs import Logs, find_logs
from bessemer.conversion.loops import Training, find_training
from bessemer.conversion.modernise.findings import NOTHING, Findings
from bessemer.conversion.normal import Normal, normalize
from bessemer.conversion.notebooks.notes import Notes
from bessemer.conversion.plan import Left
from bessemer.conversion.script import Script, take_apart
from bessemer.conversion.sources import Source, Sources
from bessemer.conversion.state import State, find_state
from bessemer.conversion.syntax import fresh_name, parameters, walk


@dataclass(frozen=True, eq=False)
class Analysis:
    """A program and what was found out about it.

    `normal` is the program in normal form. `run` and `settings` are the names under which emitted functions
    know the run and the options; `taken` are all names of the program, which nothing that is added may hide.
    `parsing` is the statement that gives the parsed options a name, if it stays: where the program changes
    them, or outside of the entry point. `changes_options` says whether the program changes them.
    `notes` is what reading a notebook brought up, None for a script; `modern` what modernising did.
    `left` are the files that the entry point does not use.
    """

    script: Script
    kinds: Kinds
    training: Training
    state: State
    logs: Logs
    run: str
    settings: str
    taken: frozenset[str]
    normal: Normal
    parsing: cst.BaseStatement | None = None
    changes_options: bool = False
    notes: Notes | None = None
    left: tuple[Left, ...] = ()
    modern: Findings = NOTHING


def analyze_program(files: Sources, entry: Source) -> Analysis:
    """Analyze a script and its local modules.

    What cannot be followed is left out here; `refusals` says so.

    Args:
        files: what imports may mean.
        entry: the script that is run.
    """
    normal = normalize(files, entry)
    script = take_apart(normal, entry.path)
    program = script.program
    taken = frozenset(x.value for x in walk(program.module, cst.Name))
    kinds = Kinds(program, script.options.bound)
    training = find_training(script, kinds)
    state = find_state(script, kinds, training, taken)
    logs = find_logs(script, kinds, training, state)
    variables = taken - {x.attr.value for x in walk(program.module, cst.Attribute)}
    run = fresh_name(("run", "bessemer_run"), variables)
    changes = _changes_options(script, kinds)
    return Analysis(
        script,
        kinds,
        training,
        state,
        logs,
        run,
        _settings(script, variables, changes),
        taken,
        normal,
        _parsing(script, changes),
        changes,
    )


def _settings(script: Script, variables: frozenset[str], changes: bool) -> str:
    """Return the name of the entry point's settings: the research code's own, if it keeps that value."""
    if script.options.parses and not changes and _parsing(script, changes) is None:
        own = parameters(script.entry) if script.entry is not None else ()
        return own[0].name.value if own else script.options.name
    return fresh_name(("settings", "run_settings"), variables.difference(SECTIONS))


def _parsing(script: Script, changes: bool) -> cst.BaseStatement | None:
    """Return the statement that names the parsed options, if something must stay in its place."""
    program = script.program
    names = (x for x in script.options.bound if isinstance(x, cst.Name))
    statement = next((program.statement(x) for x in names), None)
    if statement is None or program.function(statement) not in script.functions:
        return None
    return statement if changes or program.function(statement) is not script.entry else None


def _changes_options(script: Script, kinds: Kinds) -> bool:
    """Tell whether a program sets its options itself, or handles them as a dictionary."""
    program = script.program
    for node in walk(program.module, cst.Attribute):
        if kinds.is_a(node.value, Kind.SETTINGS) and (
            program.is_store(node) or node.attr.value == "__dict__"
        ):
            return True
    return any(
        program.imported(call.func) in ("builtins.setattr", "builtins.vars", "builtins.delattr")
        and bool(call.args)
        and kinds.is_a(call.args[0].value, Kind.SETTINGS)
        for call in walk(program.module, cst.Call)
    )
