"""Compose the Python modules of a project from the rewritten program.

Each definition is put into its room, in the order of the research code; then the names that a room
needs and does not define are imported, from where the research code had them or from a lower room. Modules
are composed with LibCST and formatted with ruff.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

import libcst as cst

from bessemer.conversion.analysis import Analysis
from bessemer.conversion.rewrites import Rewritten
from bessemer.conversion.roles import (
    ARCHITECTURES,
    DATASETS,
    EVALUATION,
    LOADERS,
    LOSSES,
    METRICS,
    PREPROCESSING,
    ROOMS,
    TRAINER,
    Room,
)
from bessemer.conversion.syntax import bound_name, code_of, free_names, statements, walk

Statement = cst.SimpleStatementLine | cst.BaseCompoundStatement

_DOCSTRINGS = {
    METRICS: "Metrics: numbers computed from predictions and targets.",
    ARCHITECTURES: "The models.",
    LOSSES: "Losses: what training minimises.",
    PREPROCESSING: "Preprocessing: reading, fetching and cleaning data.",
    DATASETS: "Data sets, and what they are made of: transforms, samplers, collate functions.",
    LOADERS: "Loaders: how data sets become batches.",
    EVALUATION: "Evaluation: loops that take no step.",
    TRAINER: "Training: the entry point and the loops in which optimizers step.",
}
_WHAT = {
    METRICS: "no metric in a function of its own",
    ARCHITECTURES: "no model of its own",
    LOSSES: "no loss of its own",
    PREPROCESSING: "no preprocessing of its own",
    DATASETS: "no data set of its own",
    LOADERS: "no function that builds loaders",
    EVALUATION: "no evaluation in a function of its own",
    TRAINER: "no training",
}


def compose(
    analysis: Analysis,
    rewritten: Rewritten,
    rooms: Mapping[str, Room],
    package: str,
    download: cst.FunctionDef | None = None,
) -> dict[str, str]:
    """Return the source of every room, by its path inside the package.

    Args:
        analysis: the program.
        rewritten: the same, after all changes.
        rooms: where each definition goes.
        package: what the rooms are in.
        download: the stage of that name, for the room of preprocessing.
    """
    composer = _Composer(analysis, rewritten, rooms, package)
    if download is not None:
        composer.contents[PREPROCESSING].append(download)
    return {f"{room}.py": composer.room(room) for room in ROOMS}


class _Composer:
    def __init__(
        self, analysis: Analysis, rewritten: Rewritten, rooms: Mapping[str, Room], package: str
    ) -> None:
        self.analysis = analysis
        self.package = package
        self.contents: dict[str, list[Statement]] = {room: [] for room in ROOMS}
        self.homes: dict[str, str] = {}
        for statement in rewritten.module.body:
            names = _defined_names(statement)
            places = {rooms[name].path for name in names if name in rooms}
            for place in sorted(places, key=ROOMS.index)[:1]:
                self._put(place, names, statement)
        if rewritten.loaders is not None:
            self._put(LOADERS, [rewritten.loaders.name.value], rewritten.loaders)
        self.header = rewritten.module.header

    def _put(self, room: str, names: Iterable[str], statement: Statement) -> None:
        self.contents[room].append(statement)
        self.homes.update(dict.fromkeys(names, room))

    def room(self, room: str) -> str:
        """Compose one module."""
        body = self.contents[room]
        if not body:
            return _wrapped(self._empty(room))
        tried = self._tried(free_names(body))
        missing = free_names([*tried, *body])
        chains = _dotted_names(body)
        lines = [*self._imports(room, missing, chains), *tried, *body]
        docstring = _docstring(self._docstring(room))
        module = cst.Module(header=self._comments(), body=[docstring, *lines])
        return module.code

    def _docstring(self, room: str) -> str:
        own = self.analysis.script.docstring
        return own if room == TRAINER and own else _DOCSTRINGS[room]

    def _comments(self) -> list[cst.EmptyLine]:
        """The lines in front of the research code (a licence, mostly) stand in front of each room."""
        return [line for line in self.header if isinstance(line, cst.EmptyLine) and line.comment]

    def _imports(self, room: str, missing: Sequence[str], chains: frozenset[str]) -> list[Statement]:
        made: list[Statement] = []
        for name in missing:
            home = self.homes.get(name)
            if home is not None and home != room:
                path = home.replace("/", ".")
                made.append(_parse(f"from {self.package}.{path} import {name}"))
            elif name == "Settings":
                made.append(_parse(f"from {self.package}.config.settings import Settings"))
            elif name in ("Run", "current_run"):
                made.append(_parse(f"from bessemer import {name}"))
            else:
                made += [x for x in self._research_imports(name, chains) if x not in made]
        if "matplotlib.pyplot.gcf" in chains and "matplotlib" not in missing:
            made.append(_parse("import matplotlib.pyplot"))
        future = [x for x in self._future() if made or body_has_annotations(self.contents[room])]
        return [*future, *made]

    def _future(self) -> list[Statement]:
        lines = self.analysis.script.imports
        return [x for x in lines if "__future__" in code_of(x) and "annotations" in code_of(x)]

    def _tried(self, names: Iterable[str]) -> list[cst.Try]:
        """Return the imports that may fail of the research code that bind one of these names."""
        tried = (x for x in self.analysis.script.imports if isinstance(x, cst.Try))
        return [x for x in tried if not _bound_in(x).isdisjoint(names)]

    def _research_imports(self, name: str, chains: frozenset[str]) -> list[Statement]:
        """Return the imports of the research code that bind a name, narrowed to that name."""
        found: list[Statement] = []
        for statement in self.analysis.script.imports:
            for node in statement.body if isinstance(statement, cst.SimpleStatementLine) else ():
                if isinstance(node, cst.Import):
                    found += self._narrow_import(name, node, chains)
                elif isinstance(node, cst.ImportFrom) and not isinstance(node.names, cst.ImportStar):
                    for alias in node.names:
                        if bound_name(alias) == name:
                            plain = alias.with_changes(comma=cst.MaybeSentinel.DEFAULT)
                            narrowed = node.with_changes(names=[plain], lpar=None, rpar=None)
                            found.append(cst.SimpleStatementLine([narrowed]))
        return found

    def _narrow_import(self, name: str, node: cst.Import, chains: frozenset[str]) -> list[Statement]:
        found: list[Statement] = []
        for alias in node.names:
            full = code_of(alias.name)
            is_used = "." not in full or alias.asname is not None
            is_used = is_used or any(f"{x}.".startswith(f"{full}.") for x in chains)
            if bound_name(alias) == name and is_used:
                plain = alias.with_changes(comma=cst.MaybeSentinel.DEFAULT)
                found.append(cst.SimpleStatementLine([cst.Import([plain])]))
        return found

    def _empty(self, room: str) -> str:
        """Say why a room is empty, and where a reader finds what he looks for."""
        hint = ""
        if room == LOSSES:
            losses = sorted(set(_losses(self.analysis)))
            if losses:
                users = sorted({x for x in (EVALUATION, TRAINER) if self.contents[x]})
                where = " and ".join(f"{x}.py" for x in users)
                hint = f"; it uses {', '.join(losses)} in {where}"
        elif room == LOADERS and self._holds_loaders():
            hint = f"; they are built in {self._holds_loaders()}.py"
        elif room == EVALUATION and any(not x.trains for x in self.analysis.training.loader_loops):
            hint = f"; it is a part of {TRAINER}.py"
        return f"The research code defines {_WHAT[room]}{hint}."

    def _holds_loaders(self) -> str:
        for room, body in self.contents.items():
            for statement in body:
                for call in walk(statement, cst.Attribute):
                    if code_of(call) == f"{self.analysis.run}.loader":
                        return room
        return ""


def _wrapped(text: str) -> str:
    """Return a docstring of one line, or of a short first line and the rest, at most 96 wide."""
    if len(text) <= 92:
        return f'"""{text}"""\n'
    head, _, tail = text.partition("; ")
    lines = textwrap.wrap(f"{tail[:1].upper()}{tail[1:]}", 96, break_long_words=False)
    return "\n".join([f'"""{head}.', "", *lines, '"""']) + "\n"


def _losses(analysis: Analysis) -> Iterable[str]:
    program = analysis.script.program
    for call in walk(program.module, cst.Call):
        name = program.imported(call.func) or ""
        last = name.rpartition(".")[2]
        is_function = name.startswith("torch.nn.functional.") and "loss" in last
        is_function = is_function or last in ("cross_entropy", "binary_cross_entropy")
        if name.startswith("torch.nn.") and (is_function or last.endswith("Loss")):
            yield name


def _defined_names(statement: cst.BaseStatement) -> list[str]:
    if isinstance(statement, cst.FunctionDef | cst.ClassDef):
        return [statement.name.value]
    if not isinstance(statement, cst.SimpleStatementLine):
        return []
    targets = [x.target for node in statement.body if isinstance(node, cst.Assign) for x in node.targets]
    targets += [node.target for node in statement.body if isinstance(node, cst.AnnAssign)]
    return [target.value for target in targets if isinstance(target, cst.Name)]


def _dotted_names(body: Sequence[Statement]) -> frozenset[str]:
    chains = (x for statement in body for x in walk(statement, cst.Attribute))
    return frozenset(code_of(x) for x in chains)


def body_has_annotations(body: Sequence[Statement]) -> bool:
    """Tell whether any statement carries a type annotation."""
    return any(any(walk(statement, cst.Annotation)) for statement in body)


def _bound_in(statement: cst.Try) -> set[str]:
    """Return what a `try` around imports binds."""
    names = {x.value for target in walk(statement, cst.AssignTarget) for x in walk(target, cst.Name)}
    for node in walk(statement, cst.Import, cst.ImportFrom):
        if not isinstance(node.names, cst.ImportStar):
            names |= {bound_name(alias) for alias in node.names}
    return names


def _docstring(text: str) -> cst.SimpleStatementLine:
    quote = '"""' if '"""' not in text else "'''"
    escaped = text.replace("\\", "\\\\")
    end = " " if escaped.endswith('"') else ""
    return cst.SimpleStatementLine([cst.Expr(cst.SimpleString(f"{quote}{escaped}{end}{quote}"))])


def _parse(code: str) -> cst.SimpleStatementLine:
    return cst.ensure_type(cst.parse_statement(code), cst.SimpleStatementLine)


def summary(code: str) -> str:
    """Return the first line of a module's docstring."""
    first = next(iter(statements(cst.parse_module(code))), None)
    node = first.body[0] if isinstance(first, cst.SimpleStatementLine) else None
    value = node.value if isinstance(node, cst.Expr) else None
    text = value.evaluated_value if isinstance(value, cst.SimpleString) else ""
    return str(text).strip().splitlines()[0] if text else ""
