"""Which room of a project each definition belongs to, by what it does, never by what it is called.

A definition first gets the room of its role. Then two rules settle the rest: what has no role goes to
its users (to the lowest room, if they are in several), and what a lower room needs moves down to it, so
that rooms import each other in one direction only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import libcst as cst

from bessemer.conversion.analysis import Analysis
from bessemer.conversion.drawing import draws_batch, judges_without_gradients
from bessemer.conversion.kinds import Kind
from bessemer.conversion.loops import call_graph
from bessemer.conversion.reductions import Reductions
from bessemer.conversion.syntax import Definition, assigned, free_names, parameters, walk

METRICS = "utils/metrics"
ARCHITECTURES = "models/architectures"
LOSSES = "models/losses"
PREPROCESSING = "data/preprocessing"
DATASETS = "data/datasets"
LOADERS = "data/loaders"
EVALUATION = "training/evaluation"
TRAINER = "training/trainer"
ROOMS = (
    METRICS,
    ARCHITECTURES,
    LOSSES,
    PREPROCESSING,
    DATASETS,
    LOADERS,
    EVALUATION,
    TRAINER,
)
"""The rooms for research code, from the lowest to the highest; a room imports only lower ones."""

_READERS = (
    "builtins.open",
    "pandas.read",
    "urllib.",
    "requests.",
    "tarfile.",
    "zipfile.",
    "gzip.",
    "csv.",
    "shutil.",
    "glob.",
    "json.load",
    "pickle.load",
    "numpy.load",
    "numpy.genfromtxt",
    "sklearn.datasets.",
    "scipy.io.",
    "PIL.Image.open",
)
_WRITERS = frozenset({"tofile", "to_csv", "to_parquet"})
_FUNCTION_ARGUMENTS = frozenset({"collate_fn", "worker_init_fn", "sampler", "batch_sampler"})
_SAMPLERS = ("torch.utils.data.Sampler", "torch.utils.data.BatchSampler")


@dataclass(frozen=True)
class Room:
    """Where a definition goes, and why."""

    path: str
    reason: str


def assign_rooms(analysis: Analysis, loaders: cst.FunctionDef | None = None) -> dict[str, Room]:
    """Return the room of every definition and constant of a program.

    Args:
        analysis: the program.
        loaders: the function that was made of lines of the entry point, whose room is that of loaders.
    """
    script = analysis.script
    graph = {name: set(used) for name, used in _references(analysis).items()}
    roles = {x.name.value: _role(analysis, x) for x in script.definitions}
    rooms = {name: role for name, role in roles.items() if role is not None}
    waiting = [name for name in graph if name not in rooms]
    while waiting:
        ready = [name for name in waiting if _users(graph, name) <= set(rooms)] or waiting[:1]
        for name in ready:
            rooms[name] = _room_of_users(rooms, _users(graph, name))
            waiting.remove(name)
    if loaders is None:
        return _without_cycles(rooms, graph)
    made = loaders.name.value
    graph[made] = set(free_names([loaders])) & set(rooms)
    settled = _without_cycles({**rooms, made: Room(LOADERS, "builds loaders")}, graph)
    return {name: room for name, room in settled.items() if name in rooms}


def _references(analysis: Analysis) -> dict[str, frozenset[str]]:
    """Return what each definition and constant refers to, of the definitions and constants."""
    script = analysis.script
    program = script.program
    graph = dict(call_graph(script))
    constants = {constant.name for constant in script.constants}
    nodes: list[tuple[str, cst.CSTNode]] = [(x.name.value, x) for x in script.definitions]
    nodes += [(x.name, x.statement) for x in script.constants]
    for name, node in nodes:
        read = {
            x.value
            for x in walk(node, cst.Name)
            if x.value in constants and x.value != name and program.defined(x) == x.value
        }
        graph[name] = graph.get(name, frozenset()) | frozenset(read)
    return graph


def _users(graph: dict[str, set[str]], name: str) -> set[str]:
    return {user for user, used in graph.items() if name in used and user != name}


def _room_of_users(rooms: dict[str, Room], users: Iterable[str]) -> Room:
    known = sorted((user for user in users if user in rooms), key=lambda x: _height(rooms[x]))
    if not known:
        return Room(TRAINER, "nothing refers to it; it stays with the entry point")
    return Room(rooms[known[0]].path, f"used by {known[0]}")


def _height(room: Room) -> int:
    return ROOMS.index(room.path)


def _without_cycles(rooms: dict[str, Room], graph: dict[str, set[str]]) -> dict[str, Room]:
    """Move down what a lower room needs, until nothing refers upwards."""
    settled = dict(rooms)
    changed = True
    while changed:
        changed = False
        for user, used in graph.items():
            for name in used:
                if _height(settled[name]) > _height(settled[user]):
                    settled[name] = Room(settled[user].path, f"needed by {user}, which is there")
                    changed = True
    return settled


def _role(analysis: Analysis, definition: Definition) -> Room | None:
    for room, reason, holds in _RULES:
        if holds(analysis, definition):
            return Room(room, reason)
    return None


def _trains(analysis: Analysis, definition: Definition) -> bool:
    program = analysis.script.program
    return any(program.definition(x) is definition for x in analysis.training.stepping)


def _is_entry(analysis: Analysis, definition: Definition) -> bool:
    return definition is analysis.script.entry


def _evaluates(analysis: Analysis, definition: Definition) -> bool:
    loops = analysis.training.loader_loops
    program = analysis.script.program
    return any(program.definition(x.function) is definition and not x.trains for x in loops)


def _is_loss(analysis: Analysis, definition: Definition) -> bool:
    if isinstance(definition, cst.ClassDef):
        bases = analysis.kinds.definitions.bases(definition)
        from_loss = any(
            base.startswith("torch.nn.") and base.endswith(("Loss", "loss._WeightedLoss")) for base in bases
        )
        return from_loss or _is_criterion(analysis, definition)
    return any(_goes_backward(analysis, call) for call in _calls(analysis, definition))


def _is_criterion(analysis: Analysis, definition: cst.ClassDef) -> bool:
    """Tell whether instances of a class are called for a loss, and have no parameters to train."""
    kinds = analysis.kinds
    if not kinds.definitions.is_module_class(definition):
        return False
    made = set(_calls(analysis, definition))
    if not made:
        return False
    called = trained = False
    for call in walk(analysis.script.program.module, cst.Call):
        value = kinds.of(call.func)
        if value is not None and value.kind is Kind.MODULE and value.origins & made:
            called = called or _goes_backward(analysis, call)
        if isinstance(call.func, cst.Attribute) and call.func.attr.value == "parameters":
            owner = kinds.of(call.func.value)
            trained = trained or (owner is not None and bool(owner.origins & made))
    return called and not trained


def _goes_backward(analysis: Analysis, call: cst.Call) -> bool:
    """Tell whether the result of a call is what `backward` is called on, or a part of it."""
    program = analysis.script.program
    function = program.function(call)
    if function is None:
        return False
    pair = assigned(program.statement(call))
    names = {x.value for x in (pair[0] if pair else ()) if isinstance(x, cst.Name)}
    backward = [
        node.value.value
        for node in walk(function, cst.Attribute)
        if node.attr.value == "backward" and isinstance(node.value, cst.Name)
    ]
    direct = program.parents.get(call)
    is_direct = isinstance(direct, cst.Attribute) and direct.attr.value == "backward"
    return is_direct or bool(names & set(backward))


def _calls(analysis: Analysis, definition: Definition) -> list[cst.Call]:
    return analysis.kinds.calls.get(definition.name.value, [])


def _is_model(analysis: Analysis, definition: Definition) -> bool:
    if isinstance(definition, cst.ClassDef):
        return analysis.kinds.definitions.is_module_class(definition)
    values = [analysis.kinds.of(call) for call in _calls(analysis, definition)]
    return any(value is not None and value.kind is Kind.MODULE for value in values)


def _is_dataset(analysis: Analysis, definition: Definition) -> bool:
    kinds, program = analysis.kinds, analysis.script.program
    if isinstance(definition, cst.ClassDef):
        if kinds.definitions.is_dataset_class(definition) or kinds.definitions.bases(definition) & set(
            _SAMPLERS
        ):
            return True
    elif any(kinds.is_a(call, Kind.DATASET) for call in _calls(analysis, definition)):
        return True
    mentions = program.spelt.get(definition.name.value, ())
    return any(_serves_data(analysis, node) for node in mentions if node is not definition.name)


def _serves_data(analysis: Analysis, name: cst.Name) -> bool:
    """Tell whether a class or function is handed, itself or made, to a data set or a loader."""
    program = analysis.script.program
    if program.defined(name) is None:
        return False
    made = program.parent(name)
    node: cst.CSTNode = made if isinstance(made, cst.Call) and made.func is name else name
    if _is_data_argument(analysis, node):
        return True
    pair = assigned(program.statement(node))
    function = program.function(node)
    if pair is None or function is None or node is name or pair[1] is not node:
        return False
    targets = [x for x in pair[0] if isinstance(x, cst.Name)]
    return any(
        _is_data_argument(analysis, use)
        for target in targets
        for use in program.occurrences(target.value, function)
    )


def _is_data_argument(analysis: Analysis, node: cst.CSTNode) -> bool:
    program = analysis.script.program
    for outer in program.ancestors(node):
        if isinstance(outer, cst.Call):
            imported = program.imported(outer.func) or ""
            if analysis.kinds.is_a(outer, Kind.DATASET):
                return True
            if imported == "torch.utils.data.DataLoader":
                arg = program.parent(node)
                keyword = arg.keyword if isinstance(arg, cst.Arg) else None
                return keyword is not None and keyword.value in _FUNCTION_ARGUMENTS
            if not imported.startswith("torchvision.transforms."):
                return False
        elif not isinstance(outer, cst.Arg | cst.List | cst.Tuple | cst.Element):
            return False
    return False


def _builds_loaders(analysis: Analysis, definition: Definition) -> bool:
    calls = walk(definition, cst.Call)
    return any(analysis.script.program.imported(x.func) == "torch.utils.data.DataLoader" for x in calls)


def _reads_data(analysis: Analysis, definition: Definition) -> bool:
    if analysis.kinds.definitions.is_module_class(definition):
        return False
    funcs = [x.func for x in walk(definition, cst.Call)]
    names = (analysis.script.program.imported(x) or "" for x in funcs)
    writes = any(isinstance(x, cst.Attribute) and x.attr.value in _WRITERS for x in funcs)
    return writes or any(name.startswith(_READERS) for name in names)


def _is_metric(analysis: Analysis, definition: Definition) -> bool:
    """A function of predictions and targets, called in a loop over a loader for a number."""
    if not isinstance(definition, cst.FunctionDef) or not parameters(definition):
        return False
    rules = Reductions(analysis.script.program, analysis.kinds)
    for call in _calls(analysis, definition):
        loop = analysis.training.around(analysis.script.program, call)
        if loop is not None and call.args and rules.reads_batch(call, loop.node):
            return True
    return False


_RULES: tuple[tuple[str, str, Callable[[Analysis, Definition], bool]], ...] = (
    (TRAINER, "the program starts with it", _is_entry),
    (TRAINER, "an optimizer steps in it, or in what it calls", _trains),
    (LOADERS, "builds loaders", _builds_loaders),
    (LOADERS, "draws batches by random indices", draws_batch),
    (EVALUATION, "iterates a loader and takes no step", _evaluates),
    (EVALUATION, "runs the model without gradients", judges_without_gradients),
    (LOSSES, "computes what is minimised", _is_loss),
    (ARCHITECTURES, "a model", _is_model),
    (DATASETS, "a data set, or a part of one", _is_dataset),
    (PREPROCESSING, "reads, fetches or writes data", _reads_data),
    (METRICS, "measures predictions", _is_metric),
)
