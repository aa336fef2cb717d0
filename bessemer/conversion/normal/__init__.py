"""Normalisation: whatever shape research code has, the converter goes on with one.

The normal form is a single module that holds imports, functions, classes and constants, and one function
without parameters that does what running the program did. `linking` makes one file of several,
`distribution` one process of several; `sharing` puts variables that functions set into an object,
`hoisting` moves module-level code into the entry function, `closures` hands its variables to the functions
and classes that read them. Each step keeps the meaning of the program, the order of its effects, and the
place of every line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import libcst as cst

from bessemer.conversion.normal.closures import Nested, close
from bessemer.conversion.normal.distribution import take_out_distribution
from bessemer.conversion.normal.hoisting import hoist
from bessemer.conversion.normal.linking import link
from bessemer.conversion.normal.places import Places
from bessemer.conversion.normal.sharing import share
from bessemer.conversion.plan import Rewrite
from bessemer.conversion.sources import Source, Sources

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
    """

    module: cst.Module
    entry: str | None
    places: Places
    nested: tuple[Nested, ...] = ()
    rewrites: tuple[Rewrite, ...] = ()
    handed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def normalize(read: Sources, entry: Source) -> Normal:
    """Bring a script and its local modules into normal form.

    Args:
        read: the files that imports may mean.
        entry: the script that is run.

    Raises:
        ConversionError: a local module is used in a way that one namespace cannot give.
    """
    places = Places()
    alone = take_out_distribution(link(read, entry, places), places)
    hoisted = hoist(share(alone.module, places), places)
    if hoisted.entry is None:
        return Normal(hoisted.module, None, places, rewrites=alone.rewrites)
    closed = close(hoisted.module, hoisted.entry, places)
    return Normal(closed.module, hoisted.entry, places, closed.nested, alone.rewrites, closed.handed)
