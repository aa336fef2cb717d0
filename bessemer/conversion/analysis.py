"""Everything that is known about a program before a line of it is changed.

`Analysis` gathers what the other modules find out, in the order in which they need each other. It
is made once; the plan and all rewrites read it.
"""

from __future__ import annotations

from dataclasses import dataclass

import libcst as cst

from bessemer.conversion.inference import Kinds
from bessemer.conversion.logs import Logs, find_logs
from bessemer.conversion.loops import Training, find_training
from bessemer.conversion.modernise.findings import NOTHING, Findings
from bessemer.conversion.normal import Normal, normalize
from bessemer.conversion.notebooks.notes import Notes
from bessemer.conversion.option import SECTIONS
from bessemer.conversion.script import Script, take_apart
from bessemer.conversion.sources import Source, Sources
from bessemer.conversion.state import State, find_state
from bessemer.conversion.syntax import fresh_name, parameters, walk


@dataclass(frozen=True, eq=False)
class Analysis:
    """A program and what was found out about it.

    `normal` is the program in normal form. `run` and `settings` are the names under which emitted functions
    know the run and the options; `taken` are all names of the program, which nothing that is added may hide.
    `notes` is what reading a notebook brought up, None for a script; `modern` what modernising did.
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
    notes: Notes | None = None
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
    return Analysis(script, kinds, training, state, logs, run, _settings(script, variables), taken, normal)


def _settings(script: Script, variables: frozenset[str]) -> str:
    """Return the name of the entry point's settings: the research code's own, if it has one."""
    if script.options.parses:
        own = parameters(script.entry) if script.entry is not None else ()
        return own[0].name.value if own else script.options.name
    return fresh_name(("settings", "run_settings"), variables - SECTIONS)
