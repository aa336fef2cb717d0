"""Normalisation: whatever shape research code has, the converter goes on with one.

The normal form is a single module that holds imports, functions, classes and constants, and one function
without parameters that does what running the program did. `linking` makes one file of several,
`distribution` one process of several; `imports` leaves out those that bind nothing new; `sharing` puts
variables that functions set into an object, `defaults` has calls hand over what were defaults, `hoisting`
moves module-level code into the entry function, `closures` hands its variables to the functions and classes
that read them. Each step keeps the meaning of the program, the order of its effects, and the place of every
line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import libcst as cst

from bessemer.conversion.normal.closures import Nested, close
from bessemer.conversion.normal.defaults import hand_defaults
from bessemer.conversion.normal.distribution import take_out_distribution
from bessemer.conversion.normal.hoisting import hoist
from bessemer.conversion.normal.imports import without_idle_imports
from bessemer.conversion.normal.linking import link
from bessemer.conversion.normal.places import Places
from bessemer.conversion.normal.sharing import share
from bessemer.conversion.plan import Question, Rewrite
from bessemer.conversion.sources import Source, Sources
from bessemer.conversion.styles import Restated, Unified, unify
from bessemer.conversion.syntax import walk

__all__ = ["Nested", "Normal", "Places", "normalize"]


@dataclass(frozen=True, eq=False)
class Normal:
    """A program in normal form.

    Attributes:
        module: imports, definitions, constants and the entry function.
        entry: name of the entry function; None if nothing runs.
        places: where each node stood in the research code.
        nested: definitions that stay inside of the entry function.
        rewrites: what was changed that the meaning of the program as one process does not keep.
        handed: for each definition, the variables of the entry function that it gets as parameters.
        restated: the options that the research code had in another style than argparse, by name.
        questions: what a person should look at.
    """

    module: cst.Module
    entry: str | None
    places: Places
    nested: tuple[Nested, ...] = ()
    rewrites: tuple[Rewrite, ...] = ()
    handed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    restated: Mapping[str, Restated] = field(default_factory=dict)
    questions: tuple[Question, ...] = ()


def normalize(read: Sources, entry: Source) -> Normal:
    """Bring a script and its local modules into normal form.

    Args:
        read: the files that imports may mean.
        entry: the script that is run.

    Raises:
        ConversionError: a local module is used in a way that one namespace cannot give.
    """
    places = Places()
    linked, rewrites = link(read, entry, places)
    alone = take_out_distribution(linked, places)
    normal = _with_options(without_idle_imports(alone.module, places), places, read.root)
    return replace(normal, rewrites=(*rewrites, *alone.rewrites))


def _with_options(module: cst.Module, places: Places, root: Path) -> Normal:
    """Return the normal form; a constant that would hold a definition in the entry function is no option."""
    unified = unify(module, places, root, ())
    tried = _finished(unified, places)
    if not unified.constants or not _outside(unified.module) - _outside(tried.module):
        return tried
    plain = _finished(unify(module, places, root), places)
    held: set[str] = set()
    while caught := _caught(tried, plain, unified):
        held |= caught
        unified = unify(module, places, root, held)
        if not unified.constants:
            return plain
        tried = _finished(unified, places)
    return tried


def _finished(unified: Unified, places: Places) -> Normal:
    hoisted = hoist(hand_defaults(share(unified.module, places), places), places)
    normal = Normal(
        hoisted.module, hoisted.entry, places, restated=unified.restated, questions=unified.questions
    )
    if hoisted.entry is None:
        return normal
    closed = close(hoisted.module, hoisted.entry, places)
    return replace(normal, module=closed.module, nested=closed.nested, handed=closed.handed)


def _caught(tried: Normal, plain: Normal, unified: Unified) -> set[str]:
    """Return constants that must stay: as options they would hold a definition in the entry function.

    A class or function that is a value, or needs a constant when it is made, reads a constant where it could
    not be handed one; it is worth more at module level than the constant is as an option.
    """
    held = _outside(plain.module) - _outside(tried.module)
    if not held:
        return set()
    inside = [x for x in walk(tried.module, cst.FunctionDef, cst.ClassDef) if x.name.value in held]
    read = {x.attr.value for node in inside for x in walk(node, cst.Attribute)}
    return (read & unified.constants) or set(unified.constants)


def _outside(module: cst.Module) -> set[str]:
    """Return the names of the definitions at module level."""
    return {x.name.value for x in module.body if isinstance(x, cst.FunctionDef | cst.ClassDef)}
