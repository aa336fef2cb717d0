"""A cell as plain Python: every line keeps its number, and what was changed or left out is remembered.

A cell that is Python as it stands is never touched. Only one that is not is searched for magics and shell
lines; a line that goes leaves a blank one, or `pass` inside of a block.
"""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass, replace

from bessemer.conversion.notebooks import magics, shell
from bessemer.conversion.notebooks.cells import Cell
from bessemer.conversion.notebooks.edits import edited, nothing, segment
from bessemer.conversion.notebooks.scanner import Kind, Special, specials
from bessemer.conversion.notebooks.shell import Meaning


@dataclass(frozen=True)
class Change:
    """A piece of a cell that is not in the program as it was.

    Attributes:
        cell: the number of the cell.
        line: the line in the cell, from 1.
        before: its text in the notebook.
        after: what stands in the program instead, or "".
        reason: why, as a sentence without its full stop.
        loses: whether the program may miss something by it.
    """

    cell: int
    line: int
    before: str
    after: str
    reason: str
    loses: bool


@dataclass(frozen=True)
class Needed:
    """Something that the notebook installs or fetches: a requirement, or a URL and where it is put."""

    cell: int
    line: int
    what: str
    target: str = ""


@dataclass(frozen=True)
class Written:
    """A Python file that the notebook writes by `%%writefile`: a local module of the program."""

    cell: int
    line: int
    name: str
    text: str


@dataclass(frozen=True)
class Failure:
    """Why a cell is not Python: the line in the cell, from 1, and what the parser says."""

    line: int
    message: str


@dataclass(frozen=True)
class Plain:
    """A cell as Python; `text` has as many lines as the cell.

    `futures` are the names that it imports from `__future__`, which only the top of a program may.
    """

    cell: Cell
    text: str
    changes: tuple[Change, ...] = ()
    requirements: tuple[Needed, ...] = ()
    downloads: tuple[Needed, ...] = ()
    written: tuple[Written, ...] = ()
    futures: tuple[str, ...] = ()
    failure: Failure | None = None


def parsed(text: str, strict: bool = False) -> ast.Module | Failure:
    """Parse a text; what the interpreter warns of is no matter here.

    Args:
        text: Python, perhaps.
        strict: whether also what parses and does not compile is a failure, such as `return` in a cell.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
            if strict:
                compile(text, "<cell>", "exec", dont_inherit=True)
        return tree
    except SyntaxError as error:
        return Failure(max(1, error.lineno or 1), error.msg or "cannot be parsed")
    except (ValueError, RecursionError, MemoryError) as error:
        return Failure(1, str(error) or type(error).__name__)


def plain(cell: Cell) -> Plain:
    """Turn a cell into Python; one that cannot be has a `failure`, and its text is of no use."""
    result = Plain(cell, cell.source)
    tree = parsed(cell.source)
    if isinstance(tree, Failure):
        result = _without_specials(replace(result, text=_dedented(cell.source)))
        tree = parsed(result.text)
    if isinstance(tree, Failure):
        return replace(result, failure=tree)
    if "get_ipython" in result.text:
        result = _without_calls(result, tree)
        tree = _again(result)
    result = _joinable(result, tree)
    strict = parsed(result.text, strict=True)
    return replace(result, failure=strict) if isinstance(strict, Failure) else result


def _again(result: Plain) -> ast.Module:
    tree = parsed(result.text)
    assert isinstance(tree, ast.Module), f"a cell that parsed does not any more: {tree}"
    return tree


def _dedented(text: str) -> str:
    """Take away the indent of the first line from all lines that have it, as IPython does."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    indent = first[: len(first) - len(first.lstrip(" \t"))]
    return "\n".join(line.removeprefix(indent) for line in text.split("\n")) if indent else text


def _without_specials(result: Plain) -> Plain:
    lines = result.text.split("\n")
    for special in specials(result.text):
        before = "\n".join(lines[special.first : special.last + 1]).strip()
        if special.kind is Kind.CELL_MAGIC:
            return _without_cell_magic(result, lines, special)
        meaning = _meaning(special)
        after = meaning.python
        if special.targets:
            after = f"{special.targets} = {meaning.python}"
        lines[special.first : special.last + 1] = [
            special.indent + (after or "pass") if after or special.indent else "",
            *[""] * (special.last - special.first),
        ]
        result = _noted(result, special.first + 1, before, after, meaning)
    return replace(result, text="\n".join(lines))


def _meaning(special: Special) -> Meaning:
    match special.kind:
        case Kind.SHELL:
            return shell.meaning(special.text)
        case Kind.ASSIGNED_SHELL:
            return magics.assigned_shell(special.text)
        case Kind.ASSIGNED_MAGIC:
            return magics.assigned_magic(special.text)
        case Kind.HELP:
            return Meaning("asks for help", loses=False)
    return magics.line_magic(special.text)


def _noted(result: Plain, line: int, before: str, after: str, meaning: Meaning) -> Plain:
    number = result.cell.number
    change = Change(number, line, before, after, meaning.reason, meaning.loses)
    installed = tuple(Needed(number, line, x) for x in meaning.requirements)
    fetched = tuple(Needed(number, line, url, target) for url, target in meaning.downloads)
    return replace(
        result,
        changes=(*result.changes, change),
        requirements=(*result.requirements, *installed),
        downloads=(*result.downloads, *fetched),
    )


def _without_cell_magic(result: Plain, lines: list[str], special: Special) -> Plain:
    name, _, rest = special.text.partition(" ")
    head = lines[special.first].strip()
    body = lines[special.first + 1 :]
    above = [*lines[: special.first], ""]
    gone = "\n".join([*above, *[""] * len(body)])
    line = special.first + 1
    if name in ("writefile", "file"):
        return _written(replace(result, text=gone), line, rest.split(), "\n".join(body))
    if not magics.is_other_language(name):
        kept = _without_specials(replace(result, text="\n".join([*above, *body])))
        if name in magics.RUNS_CELL:
            return _noted(kept, line, head, "", Meaning("its cell is kept", loses=False))
        if not isinstance(parsed(kept.text), Failure):
            reason = "a cell magic that is not known here; its cell is kept as if it were not there"
            return _noted(kept, line, head, "", Meaning(reason, loses=True))
    meaning = magics.cell_magic(special.text, "\n".join(body))
    return _noted(replace(result, text=gone), line, "\n".join([head, *body]), "", meaning)


def _written(result: Plain, line: int, words: list[str], text: str) -> Plain:
    names = [x for x in words if not x.startswith("-")]
    before = f"%%writefile {' '.join(words)}"
    name = names[0].removeprefix("./") if len(names) == 1 else ""
    fits = name.endswith(".py") and not name.startswith("/") and ".." not in name.split("/")
    if not fits or len(words) > 1 or "$" in name or "{" in name:
        return _noted(result, line, before, "", Meaning("a file that the notebook writes", loses=True))
    written = Written(result.cell.number, line + 1, name, text if text.endswith("\n") else text + "\n")
    meaning = Meaning(f"{name} is a local module of the program", loses=False)
    return replace(_noted(result, line, before, "", meaning), written=(*result.written, written))


_CALLS = frozenset({"magic", "run_line_magic", "system", "getoutput", "run_cell_magic"})


def _without_calls(result: Plain, tree: ast.Module) -> Plain:
    """Take out what an exported notebook writes for magics: `get_ipython().magic("matplotlib inline")`."""
    edits: list[tuple[ast.AST, str]] = []
    for statement in ast.walk(tree):
        if not isinstance(statement, ast.Expr | ast.Assign):
            continue
        call = statement.value
        method = call.func if isinstance(call, ast.Call) else None
        if (
            not isinstance(call, ast.Call)
            or not isinstance(method, ast.Attribute)
            or method.attr not in _CALLS
            or not isinstance(method.value, ast.Call)
            or not isinstance(method.value.func, ast.Name)
            or method.value.func.id != "get_ipython"
        ):
            continue
        words = [x.value for x in call.args if isinstance(x, ast.Constant) and isinstance(x.value, str)]
        meaning = _called(method.attr, words, isinstance(statement, ast.Assign))
        before = segment(result.text, statement)
        if isinstance(statement, ast.Assign):
            edits.append((call, meaning.python or "None"))
            after = f"{segment(result.text, statement.targets[0])} = {meaning.python or 'None'}"
        else:
            after = meaning.python
            fits = after.count("\n") <= before.count("\n")
            edits.append((statement, after if after and fits else nothing(result.text, statement)))
        result = _noted(result, statement.lineno, before, after, meaning)
    return replace(result, text=edited(result.text, edits))


def _called(method: str, words: list[str], assigned: bool) -> Meaning:
    if not words:
        return Meaning("a call of IPython whose text is not written here", loses=True)
    if method in ("system", "getoutput"):
        return magics.assigned_shell(words[0]) if assigned else shell.meaning(words[0])
    if method == "run_cell_magic":
        if words[0] in magics.RUNS_CELL and not isinstance(parsed(words[-1]), Failure):
            return Meaning("its cell is kept", loses=False, python=words[-1].strip("\n"))
        return magics.cell_magic(words[0], words[-1])
    text = " ".join(words)
    return magics.assigned_magic(text) if assigned else magics.line_magic(text)


_ALWAYS_ON = re.compile(
    r"(print_function|division|absolute_import|unicode_literals|with_statement|generators|nested_scopes"
    r"|generator_stop)$"
)


def _joinable(result: Plain, tree: ast.Module) -> Plain:
    """Take out what is right in a cell and wrong in the middle of a program.

    `from __future__ import`, which stands at the top or nowhere, and `global` outside of functions.
    """
    edits: list[tuple[ast.AST, str]] = []
    for statement in _at_cell_level(tree.body):
        if isinstance(statement, ast.Global):
            reason = "a name of a cell is global without it"
        elif isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
            futures = tuple(x.name for x in statement.names if not _ALWAYS_ON.match(x.name))
            result = replace(result, futures=(*result.futures, *futures))
            reason = "it stands at the top of the program" if futures else "Python 3 always does so"
        else:
            continue
        edits.append((statement, nothing(result.text, statement)))
        before = segment(result.text, statement)
        result = _noted(result, statement.lineno, before, "", Meaning(reason, loses=False))
    return replace(result, text=edited(result.text, edits)) if edits else result


def _at_cell_level(body: list[ast.stmt]) -> list[ast.stmt]:
    found: list[ast.stmt] = []
    for statement in body:
        found.append(statement)
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for name in ("body", "orelse", "finalbody"):
                found += _at_cell_level(getattr(statement, name, []))
            for handler in getattr(statement, "handlers", []):
                found += _at_cell_level(handler.body)
    return found
