"""What a program does to run as several processes is taken out: Bessemer distributes, the program is one.

The normal form computes what the program computes as its only process. Launchers become plain calls, wrappers
around models what they wrap, sums over processes nothing; a rank is 0 and a world is 1; a sampler that deals
samples out to processes becomes the plain one. Functions that are left without a line go, with their calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import libcst as cst

from bessemer.conversion.normal.places import Places, Tracer
from bessemer.conversion.plan import Rewrite
from bessemer.conversion.program import Program, understand
from bessemer.conversion.syntax import argument, code_of, literal_text, small, walk

_SPAWN = ("torch.multiprocessing.spawn", "torch.multiprocessing.spawn.spawn")
_WRAPPERS = frozenset(
    {
        "torch.nn.DataParallel",
        "torch.nn.parallel.DataParallel",
        "torch.nn.parallel.DistributedDataParallel",
        "torch.nn.parallel.distributed.DistributedDataParallel",
        "torch.nn.SyncBatchNorm.convert_sync_batchnorm",
        "torch.distributed.fsdp.FullyShardedDataParallel",
    }
)
_APPLIED = frozenset({"torch.nn.parallel.data_parallel", "torch.nn.parallel.data_parallel.data_parallel"})
_SAMPLERS = frozenset(
    {"torch.utils.data.distributed.DistributedSampler", "torch.utils.data.DistributedSampler"}
)
_VALUES = {
    "torch.distributed.get_rank": "0",
    "torch.distributed.get_node_local_rank": "0",
    "torch.distributed.get_world_size": "1",
    "torch.distributed.is_initialized": "False",
    "torch.distributed.is_torchelastic_launched": "False",
}
_LEAVE_ALONE = frozenset({"torch.distributed.is_available", "torch.distributed.is_nccl_available"})
_SET_DEVICE = frozenset({"torch.cuda.set_device", "torch.accelerator.set_device_index"})
_ALONE = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1", "NODE_RANK": "0"}
_RENDEZVOUS = frozenset({*_ALONE, "MASTER_ADDR", "MASTER_PORT", "CUDA_VISIBLE_DEVICES"})
_WORDS = frozenset(
    {"distributed", "multiprocessing", "parallel", "DataParallel", "SyncBatchNorm", "environ", "getenv"}
    | {"set_device", "set_device_index", "data_parallel"}
)
_REASON = "Bessemer distributes the program, which runs as one process"


@dataclass(frozen=True, eq=False)
class Alone:
    """A module that does not distribute itself, and what was changed to make it so."""

    module: cst.Module
    rewrites: tuple[Rewrite, ...]


def take_out_distribution(module: cst.Module, places: Places) -> Alone:
    """Return a module that computes, as one process, what the only process of it would."""
    if not any(_mentions(x) for x in walk(module, cst.Name)):
        return Alone(module, ())
    program = understand(module, "", places.known)
    places.learn(program.stood)
    remover = _Remover(program, places)
    changed = cst.ensure_type(program.module.visit(remover), cst.Module)
    if not remover.rewrites:
        return Alone(module, ())
    changed = _without_empty(changed, remover.emptied, places)
    if remover.needs_torch:
        changed = changed.with_changes(body=[*_with_torch(changed.body)])
    return Alone(changed, tuple(remover.rewrites))


def _mentions(name: cst.Name) -> bool:
    return name.value in _WORDS


class _Remover(Tracer):
    def __init__(self, program: Program, places: Places) -> None:
        super().__init__(places)
        self.program = program
        self.rewrites: list[Rewrite] = []
        self.needs_torch = False
        self.emptied: set[str] = set()
        calls = list(walk(program.module, cst.Call))
        self.wrapped = {
            target
            for call in calls
            if program.imported(call.func) in _WRAPPERS
            for target in _targets(program, call)
        }
        self.samples = any(program.imported(call.func) in _SAMPLERS for call in calls)

    def _note(self, original: cst.CSTNode, after: str, reason: str = _REASON) -> None:
        before = " ".join(self.program.code(original).split())
        before = before if len(before) <= 120 else f"{before[:117]}..."
        where = self.program.where(original)
        self.rewrites.append(Rewrite(where, "distribution", before, after, reason))

    def _becomes(
        self, original: cst.CSTNode, made: cst.BaseExpression, reason: str = _REASON
    ) -> cst.BaseExpression:
        self._note(original, code_of(made), reason)
        return made

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        """Replace launchers, wrappers, samplers and questions about the other processes."""
        name = self.program.imported(original_node.func) or ""
        args = updated_node.args
        if name in _VALUES:
            return self._becomes(original_node, cst.parse_expression(_VALUES[name]))
        if name in _WRAPPERS and args:
            return self._becomes(original_node, _in_brackets(args[0].value))
        if name in _APPLIED and len(args) >= 2:
            batch = args[1].value
            inputs = (
                [cst.Arg(x.value) for x in batch.elements]
                if isinstance(batch, cst.Tuple)
                else [cst.Arg(batch)]
            )
            return self._becomes(original_node, cst.Call(args[0].value, inputs))
        if name in _SAMPLERS and args:
            shuffle = argument(original_node, "shuffle", 3)
            plain = isinstance(shuffle, cst.Name) and shuffle.value == "False"
            self.needs_torch = True
            made = f"torch.utils.data.{'SequentialSampler' if plain else 'RandomSampler'}"
            return self._becomes(
                original_node,
                cst.Call(cst.parse_expression(made), [cst.Arg(args[0].value)]),
                "batches are dealt out to workers by the run, each sample to one",
            )
        if name in _SPAWN and args:
            given = argument(updated_node, "args", 1)
            if given is None or isinstance(given, cst.Tuple):
                elements = given.elements if isinstance(given, cst.Tuple) else ()
                rest = [cst.Arg(x.value) for x in elements]
                return self._becomes(
                    original_node, cst.Call(args[0].value, [cst.Arg(cst.Integer("0")), *rest])
                )
        if (
            name == "builtins.int"
            and len(args) == 1
            and self._variable(original_node.args[0].value) in _ALONE
        ):
            return cst.Integer(_ALONE[self._variable(original_node.args[0].value)])
        if name in ("os.environ.get", "os.getenv") and self._asks_rank(original_node.args):
            default = args[1].value if len(args) > 1 else cst.Name("None")
            return self._becomes(original_node, default)
        return updated_node

    def _asks_rank(self, args: Sequence[cst.Arg]) -> bool:
        return bool(args) and literal_text(args[0].value) in _ALONE

    def leave_Subscript(
        self, original_node: cst.Subscript, updated_node: cst.Subscript
    ) -> cst.BaseExpression:
        """Give the answers that a launcher leaves in the environment."""
        if self.program.is_load(original_node) and (key := self._variable(original_node)) in _ALONE:
            return self._becomes(original_node, cst.SimpleString(f'"{_ALONE[key]}"'))
        return updated_node

    def _variable(self, node: cst.CSTNode) -> str:
        """Return the variable of the environment that an expression names."""
        if not isinstance(node, cst.Subscript) or self.program.imported(node.value) != "os.environ":
            return ""
        index = node.slice[0].slice if len(node.slice) == 1 else None
        return (literal_text(index.value) or "") if isinstance(index, cst.Index) else ""

    def leave_Comparison(
        self, original_node: cst.Comparison, updated_node: cst.Comparison
    ) -> cst.BaseExpression:
        """`"RANK" in os.environ` asks whether a launcher started the program; none did."""
        if len(original_node.comparisons) != 1 or literal_text(original_node.left) not in _ALONE:
            return updated_node
        (other,) = original_node.comparisons
        if self.program.imported(other.comparator) != "os.environ":
            return updated_node
        if isinstance(other.operator, cst.In | cst.NotIn):
            return self._becomes(original_node, cst.Name(str(isinstance(other.operator, cst.NotIn))))
        return updated_node

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.BaseExpression:
        """`model.module` is the model, where nothing is wrapped around it."""
        if original_node.attr.value != "module" or not self.program.is_load(original_node):
            return updated_node
        if _last_name(original_node.value) not in self.wrapped:
            return updated_node
        return self._becomes(original_node, updated_node.value)

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.BaseStatement | cst.RemovalSentinel:
        """Take out what only speaks to the other processes."""
        if not self._is_idle(original_node) and not _says_nothing(original_node, updated_node):
            return updated_node
        self._note(original_node, "")
        function = self.program.function(original_node)
        if function is not None and self.program.definition(function) is function:
            self.emptied.add(function.name.value)
        return cst.RemoveFromParent()

    def _is_idle(self, statement: cst.SimpleStatementLine) -> bool:
        inner = small(statement)
        if isinstance(inner, cst.Assign) and all(
            self._variable(x.target) in _RENDEZVOUS for x in inner.targets
        ):
            return True
        call = inner.value if isinstance(inner, cst.Expr) else None
        if not isinstance(call, cst.Call):
            return False
        name = self.program.imported(call.func) or ""
        if name == "os.environ.setdefault":
            return bool(call.args) and literal_text(call.args[0].value) in _RENDEZVOUS
        if isinstance(call.func, cst.Attribute) and call.func.attr.value == "set_epoch":
            return self.samples
        known = name in _VALUES or name in _LEAVE_ALONE
        return (
            name in _SET_DEVICE
            or name == "torch.multiprocessing.set_start_method"
            or (name.startswith("torch.distributed.") and not known)
        )


def _says_nothing(original: cst.SimpleStatementLine, updated: cst.SimpleStatementLine) -> bool:
    """Tell whether a statement that wrapped a model, `model = DataParallel(model)`, does nothing any more."""
    inner = small(updated)
    if original is updated or not isinstance(inner, cst.Assign) or len(inner.targets) != 1:
        return False
    return code_of(inner.targets[0].target) == code_of(inner.value)


def _targets(program: Program, call: cst.Call) -> list[str]:
    """Return the last names of what a call's result is assigned to."""
    statement = program.statement(call)
    inner = small(statement)
    if not isinstance(inner, cst.Assign) or inner.value is not call:
        # model = DDP(model).cuda(), model = DDP(model) if parallel else model
        inside = isinstance(inner, cst.Assign) and not any(
            isinstance(x, cst.Arg) for x in program.ancestors(call)
        )
        if not (inside and isinstance(inner, cst.Assign)):
            return []
    return [name for x in inner.targets if (name := _last_name(x.target))]


def _last_name(node: cst.CSTNode) -> str:
    if isinstance(node, cst.Attribute):
        return node.attr.value
    return node.value if isinstance(node, cst.Name) else ""


def _in_brackets(node: cst.BaseExpression) -> cst.BaseExpression:
    if isinstance(node, cst.Name | cst.Attribute | cst.Call | cst.Subscript) or node.lpar:
        return node
    return node.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])


# What is left without a line


def _without_empty(module: cst.Module, emptied: set[str], places: Places) -> cst.Module:
    """Take out functions in which nothing is left, with their calls, as long as there are any."""
    while True:
        empty = {
            x.name.value
            for x in module.body
            if isinstance(x, cst.FunctionDef) and x.name.value in emptied and _is_empty(x.body)
        }
        cleaner = _Cleaner(empty, places)
        changed = cst.ensure_type(module.visit(cleaner), cst.Module)
        used = {
            x.value
            for statement in changed.body
            if not (isinstance(statement, cst.FunctionDef) and statement.name.value in empty)
            for x in walk(statement, cst.Name)
        }
        body = [
            x for x in changed.body if not (isinstance(x, cst.FunctionDef) and x.name.value in empty - used)
        ]
        emptied = (emptied | cleaner.touched) - empty
        module = changed.with_changes(body=body)
        if not empty:
            return module


class _Cleaner(Tracer):
    """Takes out calls of empty functions, and branches in which nothing is left."""

    def __init__(self, empty: set[str], places: Places) -> None:
        super().__init__(places)
        self.empty = empty
        self.touched: set[str] = set()
        self._functions: list[str] = []

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        """Remember which function this is."""
        self._functions.append(node.name.value)

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.BaseStatement:
        """Write `pass` where nothing is left."""
        self._functions.pop()
        return updated_node.with_changes(body=_filled(updated_node.body))

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.BaseStatement | cst.RemovalSentinel:
        """Take out a call of a function that does nothing."""
        inner = small(original_node)
        call = inner.value if isinstance(inner, cst.Expr) else None
        if not (
            isinstance(call, cst.Call) and isinstance(call.func, cst.Name) and call.func.value in self.empty
        ):
            return updated_node
        self.touched.update(self._functions)
        return cst.RemoveFromParent()

    def leave_If(
        self, original_node: cst.If, updated_node: cst.If
    ) -> cst.BaseStatement | cst.RemovalSentinel:
        """Take out a branch without lines; what its test does stays if it may do anything."""
        body, other = updated_node.body, updated_node.orelse
        if other is not None or body.body or any(walk(updated_node.test, cst.Call, cst.NamedExpr)):
            return updated_node.with_changes(body=_filled(body))
        return cst.RemoveFromParent()

    def leave_Else(self, original_node: cst.Else, updated_node: cst.Else) -> cst.Else | cst.RemovalSentinel:  # type: ignore[override]
        """Take out an `else` without lines."""
        return updated_node if updated_node.body.body else cst.RemoveFromParent()

    def leave_For(self, original_node: cst.For, updated_node: cst.For) -> cst.BaseStatement:
        """Write `pass` where nothing is left."""
        return updated_node.with_changes(body=_filled(updated_node.body))

    def leave_With(self, original_node: cst.With, updated_node: cst.With) -> cst.BaseStatement:
        """Write `pass` where nothing is left."""
        return updated_node.with_changes(body=_filled(updated_node.body))

    def leave_Try(self, original_node: cst.Try, updated_node: cst.Try) -> cst.BaseStatement:
        """Write `pass` where nothing is left."""
        return updated_node.with_changes(body=_filled(updated_node.body))


def _filled(suite: cst.BaseSuite) -> cst.BaseSuite:
    if suite.body or not isinstance(suite, cst.IndentedBlock):
        return suite
    return suite.with_changes(body=[cst.SimpleStatementLine([cst.Pass()])])


def _is_empty(suite: cst.BaseSuite) -> bool:
    return all(
        isinstance(inner := small(x), cst.Pass)
        or (isinstance(inner, cst.Expr) and literal_text(inner.value) is not None)
        for x in suite.body
    )


def _with_torch(body: Sequence[cst.BaseStatement]) -> list[cst.BaseStatement]:
    """Return statements that import torch, behind the docstring and imports from the future."""
    for statement in body:
        for node in walk(statement, cst.Import):
            if any(x.asname is None and code_of(x.name) == "torch" for x in node.names):
                return list(body)
    num_before = 0
    while num_before < len(body) and (
        "__future__" in code_of(body[num_before])
        or (isinstance(inner := small(body[num_before]), cst.Expr) and literal_text(inner.value) is not None)
    ):
        num_before += 1
    made = cst.parse_statement("import torch\n")
    return [*body[:num_before], made, *body[num_before:]]
