"""Refused programs: those that do not train, distribute themselves, or keep state in modules or classes."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from bessemer.conversion.analysis import Analysis
from bessemer.conversion.kinds import Kind
from bessemer.conversion.refusals.base import Refusal, refusal
from bessemer.conversion.rewrites.run_parameter import entry_parameters
from bessemer.conversion.syntax import walk

_PROCESSES = frozenset(
    {"multiprocessing.Process", "torch.multiprocessing.Process", "torch.multiprocessing.spawn"}
)
_RPC = "torch.distributed.rpc."


def _distribution(analysis: Analysis) -> Iterator[Refusal]:
    """Processes that the program starts itself, in a way that is no call of one function."""
    program = analysis.script.program
    for call in walk(program.module, cst.Call):
        name = program.imported(call.func) or ""
        if name in _PROCESSES or name.startswith(_RPC):
            yield refusal(
                analysis,
                call,
                f"{name}: the program starts processes that work together",
                "a program for one process, or torch.multiprocessing.spawn; Bessemer makes it run on many",
                "convert the version that trains in one process",
            )


def _no_training(analysis: Analysis) -> Iterator[Refusal]:
    script, training = analysis.script, analysis.training
    program = script.program
    backward = [x for x in walk(program.module, cst.Attribute) if x.attr.value == "backward"]
    if script.entry is None:
        yield refusal(
            analysis,
            program.module,
            "nothing here starts when the file is run",
            'a function that is called under `if __name__ == "__main__":`',
            "add the guard, and call the function that trains",
        )
    elif not training.steps and not backward:
        yield refusal(
            analysis,
            script.entry,
            "no training here: nothing calls backward() and no optimizer of torch.optim steps",
            "a program that trains a model",
            "give the script that trains",
        )
    elif training.by_hand and any(_makes_optimizer(analysis, x) for x in walk(program.module, cst.Call)):
        yield refusal(
            analysis,
            training.steps[0],
            "backward() without the step of an optimizer that can be followed to torch.optim",
            "an optimizer of torch.optim in a variable, an attribute or a list, and its step()",
            "hold the optimizer in a plain variable, and hand it to the functions that step it",
        )
    elif not training.tops and not any(walk(program.module, cst.For, cst.While)):
        yield refusal(
            analysis,
            training.steps[0],
            "backward() or a step, but no loop anywhere: this shows what they do, and trains nothing",
            "a program that trains a model in a loop",
            "give the script that trains",
        )
    elif not training.tops:
        yield refusal(
            analysis,
            training.steps[0],
            "no loop around the optimizer's step that begins at the entry point",
            "a training loop in a function that the entry point calls",
            "call the training function once, from the entry point",
        )


def _makes_optimizer(analysis: Analysis, call: cst.Call) -> bool:
    value = analysis.kinds.of(call)
    return value is not None and value.kind is Kind.OPTIMIZER and call in value.origins


def _entry_shape(analysis: Analysis) -> Iterator[Refusal]:
    script = analysis.script
    entry = script.entry
    if entry is None:
        return
    allowed = 1 if script.options.parses and not script.made_entry else 0
    extra = entry_parameters(analysis)[allowed:]
    has_default = all(x.default is not None for x in walk(entry.params, cst.Param)) and extra
    if extra or not isinstance(entry.body, cst.IndentedBlock) or entry.decorators:
        what = f"parameters {', '.join(extra)}" if extra else "decorators or a one-line body"
        yield refusal(
            analysis,
            entry,
            f"the entry point {entry.name.value} has {what}",
            "an entry point that takes the parsed options, or nothing",
            "make them options of argparse" if not has_default else "make them constants or options",
        )
    if entry.asynchronous is not None:
        yield refusal(analysis, entry, "the entry point is async", "a plain function", "remove async")


def _globals(analysis: Analysis) -> Iterator[Refusal]:
    """State of the module that functions change; loops in functions that are inside of another one."""
    program = analysis.script.program
    inside = {x.name: x.reason for x in analysis.normal.nested}
    for node in walk(program.module, cst.Global, cst.Nonlocal):
        outer = [x for x in program.ancestors(node) if isinstance(x, cst.FunctionDef | cst.ClassDef)]
        if isinstance(node, cst.Global) or any(x.name.value in inside for x in outer):
            names = ", ".join(x.name.value for x in node.names)
            yield refusal(
                analysis,
                node,
                f"global {names}: state that is kept in the module",
                "functions that take what they need and return what they change",
                "make it an argument and a result",
            )
    for loop in walk(program.module, cst.For, cst.While):
        outer = [x for x in program.ancestors(loop) if isinstance(x, cst.FunctionDef | cst.ClassDef)]
        held = next((x for x in outer if x.name.value in inside), None)
        if held is not None and (analysis.training.of(loop) is not None or analysis.training.top(loop)):
            yield refusal(
                analysis,
                loop,
                f"the loop of {held.name.value} cannot leave the function around it: "
                f"{inside[held.name.value]}",
                "loops over loaders in functions that get what they use as arguments",
                f"hand to {held.name.value} what it reads",
            )


def _settings_changed(analysis: Analysis) -> Iterator[Refusal]:
    """Options that are called something else in the settings must be followed to each place."""
    program, options = analysis.script.program, analysis.script.options
    for name in walk(program.module, cst.Name) if options.renamed else ():
        if program.is_store(name) and name in options.bound:
            others = [x for x in program.bindings(name) if x is not name]
            if others:
                yield refusal(
                    analysis,
                    others[0],
                    f"{name.value} is set again after the options were parsed",
                    "one name for the parsed options",
                    "use another name",
                )


RULES = (
    _distribution,
    _no_training,
    _entry_shape,
    _globals,
    _settings_changed,
)
