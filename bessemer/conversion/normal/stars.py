"""Star imports of the standard library and of installed packages name what is used of them.

Which names a star brings only the module itself can say, so a Python process of its own imports it, with
nothing of the research code on its path. Star imports of local files are `linking`'s.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import sysconfig
from collections.abc import Container, Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

import libcst as cst

from bessemer.conversion.normal.names import find_names
from bessemer.conversion.plan import Rewrite
from bessemer.conversion.scoping import positions_in
from bessemer.conversion.sources import Source
from bessemer.conversion.syntax import code_of, source_module, walk

_NAMES_OF = """
import importlib, json, sys
module = importlib.import_module(sys.argv[1])
names = getattr(module, "__all__", None) or [x for x in vars(module) if not x.startswith("_")]
print(json.dumps(sorted(names)))
"""
_LIMIT_S = 60.0
_WORD = re.compile(r"[^\W\d]\w*")


def words_in(texts: Iterable[str]) -> frozenset[str]:
    """Return everything in texts that could be a name."""
    return frozenset(word for text in texts for word in _WORD.findall(text))


def with_named_stars(
    source: Source, local: Container[cst.ImportFrom], others: Iterable[Source]
) -> tuple[Source, list[Rewrite]]:
    """Name what the star imports of a file bring, as far as it is used.

    Args:
        source: a file.
        local: its imports of local files, which are kept.
        others: files that may import everything of it, and with that what its own star imports bring; of
            the script that is run, none.

    Returns:
        The file, its lines as before, and what was changed.
    """
    stars = [x for x in walk(source.module, cst.ImportFrom) if isinstance(x.names, cst.ImportStar)]
    named = {node: public_names(source_module(node)) for node in stars if node not in local}
    if not any(named.values()):
        return source, []
    words = find_names(source.module).uses.keys() | words_in(x.text for x in others)
    positions = positions_in(source.module)
    rewrites, namer = [], _Namer()
    for node, names in named.items():
        if not names:
            continue
        # One name at least, so that the module is imported still.
        used = [x for x in names if x in words] or list(names[:1])
        after = node.with_changes(names=[cst.ImportAlias(cst.Name(x)) for x in used])
        namer.made[node] = after
        where = source.where(positions[node].start.line)
        reason = "what a star brings is named; names without a use are left out"
        rewrites.append(Rewrite(where, "stars", code_of(node), code_of(after), reason))
    return replace(source, module=source.module.visit(namer)), rewrites


class _Namer(cst.CSTTransformer):
    def __init__(self) -> None:
        super().__init__()
        self.made: dict[cst.ImportFrom, cst.ImportFrom] = {}

    def leave_ImportFrom(self, original_node: cst.ImportFrom, updated_node: cst.ImportFrom) -> cst.ImportFrom:
        """Put the import that names what it brings."""
        return self.made.get(original_node, updated_node)


@cache
def public_names(module: str) -> tuple[str, ...] | None:
    """Return what `from module import *` brings; None if it is neither Python's own nor installed."""
    if not _is_installed(module.partition(".")[0]):
        return None
    command = [sys.executable, "-I", "-c", _NAMES_OF, module]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_LIMIT_S)
        return tuple(json.loads(done.stdout.strip().splitlines()[-1]))
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def _is_installed(package: str) -> bool:
    if package in sys.stdlib_module_names:
        return True
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return False
    if spec is None or spec.origin is None:
        return False
    folders = {sysconfig.get_path(x) for x in ("purelib", "platlib")}
    return any(Path(spec.origin).is_relative_to(folder) for folder in folders)
