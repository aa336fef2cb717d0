"""How a number computed from one batch adds up: as a sum over samples, a mean, or neither.

With several workers each sees a slice of every global batch. A sum over samples is right when it
is simply added up over the workers; a mean must first be weighted by the worker's share of the
batch; a number that does not depend on the batch is the same everywhere and must not be added up at
all. Everything else (a maximum, a logarithm of a mean) cannot be put together from slices.

The rules are a small algebra: a mean times the number of samples is a sum, a sum divided by it is a
mean, the product of two means is neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

import libcst as cst

from bessemer.conversion.inference import Kinds
from bessemer.conversion.kinds import Kind
from bessemer.conversion.program import Program
from bessemer.conversion.syntax import argument, literal_text, parameters, walk, walk_own


class Reduction(Enum):
    """What a value is with respect to the samples of a batch."""

    SAME = "the same on every worker"
    BATCH = "one value for each sample"
    SIZE = "a number of samples"
    SUM = "a sum over samples"
    MEAN = "a mean over samples"
    UNKNOWN = "unknown"


_SCALARS = frozenset({Reduction.SIZE, Reduction.SUM, Reduction.MEAN})
_PASSES = frozenset(
    {"item", "detach", "cpu", "cuda", "to", "float", "double", "half", "int", "long", "bool"}
    | {"numpy", "data", "clone", "tolist"}
)
_CASTS = frozenset({"builtins.float", "builtins.int"})
_FUNCTIONAL = "torch.nn.functional."
_FUNCTIONAL_LOSSES = frozenset(
    {"cross_entropy", "binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div"}
)
# With these a mean is weighted by something else than the number of samples.
_WEIGHTS = ("weight", "ignore_index", "pos_weight")
# Without a dimension these look at all samples at once, and what they see is no sum.
_OVER_ALL = frozenset({"max", "min", "norm", "std", "var", "prod", "median", "logsumexp", "unique"})
_MIXING = frozenset({"torch.matmul", "torch.mm", "torch.bmm", "torch.einsum", "torch.cdist"})

_MAKERS = frozenset(
    f"torch.{name}" for name in ("zeros", "ones", "full", "empty", "rand", "randn", "randint")
)

Names = Mapping[str, Reduction]


def combine(operator: cst.BaseBinaryOp | cst.BaseAugOp, a: Reduction, b: Reduction) -> Reduction:
    """Return what the result of an arithmetic operation is, from what the operands are."""
    if Reduction.UNKNOWN in (a, b):
        return Reduction.UNKNOWN
    if a is b is Reduction.SAME:
        return Reduction.SAME
    if Reduction.BATCH in (a, b):
        if isinstance(operator, cst.MatrixMultiply) and a is b:
            return Reduction.UNKNOWN
        return Reduction.UNKNOWN if {a, b} & _SCALARS else Reduction.BATCH
    match operator:
        case cst.Add() | cst.Subtract():
            return _added(a, b)
        case cst.Multiply():
            return _multiplied(a, b)
        case cst.Divide():
            return _divided(a, b)
    return Reduction.UNKNOWN


def _added(a: Reduction, b: Reduction) -> Reduction:
    kinds = {a, b}
    if kinds <= {Reduction.SUM, Reduction.SIZE}:
        return Reduction.SUM
    return Reduction.MEAN if kinds <= {Reduction.MEAN, Reduction.SAME} else Reduction.UNKNOWN


def _multiplied(a: Reduction, b: Reduction) -> Reduction:
    kinds = {a, b}
    if Reduction.SAME in kinds:
        other = b if a is Reduction.SAME else a
        return Reduction.SUM if other is Reduction.SIZE else other
    return Reduction.SUM if kinds == {Reduction.MEAN, Reduction.SIZE} else Reduction.UNKNOWN


def _divided(a: Reduction, b: Reduction) -> Reduction:
    if b is Reduction.SAME:
        return Reduction.SUM if a is Reduction.SIZE else a
    if a in (Reduction.SUM, Reduction.SIZE) and b is Reduction.SIZE:
        return Reduction.MEAN
    return Reduction.UNKNOWN


class Reductions:
    """Answers how an expression inside a loop over batches adds up over workers."""

    def __init__(self, program: Program, kinds: Kinds) -> None:
        self._program = program
        self._kinds = kinds

    def in_loop(self, expression: cst.BaseExpression, loop: cst.For) -> Reduction:
        """Classify an expression in the body of a loop over a loader."""
        return _Scope(self._program, self._kinds, loop, {}, 0).of(expression)

    def reads_batch(self, call: cst.Call, loop: cst.For) -> bool:
        """Tell whether a call in a loop over batches is given something computed from the batch."""
        scope = _Scope(self._program, self._kinds, loop, {}, 0)
        return any(scope.of(arg.value) is not Reduction.SAME for arg in call.args)

    def of_criterion(self, call: cst.Call) -> Reduction | None:
        """Return what calling a loss object or function of PyTorch gives; None if it is neither."""
        imported = self._program.imported(call.func)
        if imported is not None:
            name = imported.removeprefix(_FUNCTIONAL)
            is_loss = name.endswith("_loss") or name in _FUNCTIONAL_LOSSES
            if imported.startswith(_FUNCTIONAL) and is_loss:
                return self._configured(call)
            return None
        value = self._kinds.of(call.func)
        if value is None or value.kind is not Kind.CRITERION:
            return None
        found = {self._configured(origin) for origin in value.origins}
        return found.pop() if len(found) == 1 else Reduction.UNKNOWN

    def _configured(self, call: cst.Call) -> Reduction:
        if any(arg.star for arg in call.args):
            return Reduction.UNKNOWN
        node = argument(call, "reduction")
        legacy = argument(call, "size_average")
        if isinstance(legacy, cst.Name) and legacy.value == "False":
            return Reduction.SUM
        reduction = "mean" if node is None else literal_text(node)
        if reduction in ("mean", "batchmean"):
            is_weighted = any(argument(call, name) is not None for name in _WEIGHTS)
            return Reduction.UNKNOWN if is_weighted else Reduction.MEAN
        known = {"sum": Reduction.SUM, "none": Reduction.BATCH}
        return known.get(reduction or "", Reduction.UNKNOWN)


class _Scope:
    """Classifies expressions in one loop body, or in the body of a function that is called there."""

    def __init__(
        self,
        program: Program,
        kinds: Kinds,
        region: cst.For | cst.FunctionDef,
        given: Names,
        depth: int,
    ) -> None:
        self._program = program
        self._kinds = kinds
        self._rules = Reductions(program, kinds)
        self._region = region
        self._given = dict(given)
        self._depth = depth
        self._open: set[str] = set()

    def of(self, node: cst.BaseExpression) -> Reduction:
        """Classify one expression."""
        match node:
            case cst.BaseNumber() | cst.SimpleString() | cst.FormattedString() | cst.Lambda():
                return Reduction.SAME
            case cst.Name():
                return self._name(node)
            case cst.UnaryOperation():
                return self.of(node.expression)
            case cst.BinaryOperation():
                return combine(node.operator, self.of(node.left), self.of(node.right))
            case cst.BooleanOperation():
                return self._elementwise([node.left, node.right])
            case cst.IfExp():
                return self._elementwise([node.test, node.body, node.orelse])
            case cst.Comparison():
                compared = [node.left, *(x.comparator for x in node.comparisons)]
                return self._elementwise(compared)
            case cst.Attribute():
                return self._attribute(node)
            case cst.Subscript():
                return self._subscript(node)
            case cst.Call():
                return self._call(node)
            case cst.Tuple() | cst.List():
                return self._elementwise([element.value for element in node.elements])
        return Reduction.UNKNOWN

    def _elementwise(self, nodes: list[cst.BaseExpression]) -> Reduction:
        found = {self.of(node) for node in nodes}
        if found & (_SCALARS | {Reduction.UNKNOWN}):
            return Reduction.UNKNOWN
        return Reduction.BATCH if Reduction.BATCH in found else Reduction.SAME

    def _name(self, name: cst.Name) -> Reduction:
        given = self._given.get(name.value)
        if isinstance(self._region, cst.For) and self._is_target(name.value):
            given = self._target(name.value)
        if name.value in self._open:
            return given or Reduction.UNKNOWN
        self._open.add(name.value)
        found = {self._stored(node) for node in self._stores(name.value)}
        self._open.discard(name.value)
        found |= {given} if given is not None else set()
        if len(found) > 1:
            return Reduction.UNKNOWN
        return found.pop() if found else Reduction.SAME

    def _stores(self, name: str) -> list[cst.Name]:
        nodes = walk(self._region.body, cst.Name)
        return [node for node in nodes if node.value == name and self._program.is_store(node)]

    def _stored(self, name: cst.Name) -> Reduction:
        """Classify what one assignment in the region puts into a name."""
        for outer in self._program.ancestors(name):
            match outer:
                case cst.Assign() | cst.AnnAssign() if outer.value is not None:
                    return self._unpacked(name, outer)
                case cst.AugAssign():
                    return Reduction.UNKNOWN
                case cst.For() | cst.CompFor():
                    value = self.of(outer.iter)
                    return value if value is Reduction.SAME else Reduction.UNKNOWN
                case cst.BaseStatement():
                    break
        return Reduction.UNKNOWN

    def _unpacked(self, name: cst.Name, statement: cst.Assign | cst.AnnAssign) -> Reduction:
        value = statement.value
        assert value is not None
        targets = (
            [x.target for x in statement.targets] if isinstance(statement, cst.Assign) else [statement.target]
        )
        if name in targets:
            return self.of(value)
        for target in targets:
            if isinstance(target, cst.Tuple | cst.List) and isinstance(value, cst.Tuple | cst.List):
                pairs = zip(target.elements, value.elements, strict=False)
                for left, right in pairs:
                    if left.value is name:
                        return self.of(right.value)
        whole = self.of(value)
        return whole if whole in (Reduction.SAME, Reduction.BATCH) else Reduction.UNKNOWN

    def _is_target(self, name: str) -> bool:
        assert isinstance(self._region, cst.For)
        return any(node.value == name for node in walk(self._region.target, cst.Name))

    def _target(self, name: str) -> Reduction:
        """The loop's own names: the batch, and in front of it the counter of `enumerate`."""
        assert isinstance(self._region, cst.For)
        target, source = self._region.target, self._region.iter
        inner = source.args[0].value if isinstance(source, cst.Call) and source.args else None
        counted = any(
            isinstance(node, cst.Call) and self._program.imported(node.func) == "builtins.enumerate"
            for node in (source, inner)
        )
        if counted and isinstance(target, cst.Tuple):
            first = target.elements[0].value
            if isinstance(first, cst.Name) and first.value == name:
                return Reduction.SAME
        return Reduction.BATCH

    def _attribute(self, node: cst.Attribute) -> Reduction:
        if self._program.imported(node) is not None:
            return Reduction.SAME
        base = self.of(node.value)
        if node.attr.value == "shape":
            return Reduction.UNKNOWN if base is not Reduction.SAME else Reduction.SAME
        if node.attr.value in _PASSES or node.attr.value in ("T", "grad", "values", "indices"):
            return base
        return base if base in (Reduction.SAME, Reduction.BATCH) else Reduction.UNKNOWN

    def _subscript(self, node: cst.Subscript) -> Reduction:
        base_node = node.value
        if isinstance(base_node, cst.Attribute) and base_node.attr.value == "shape":
            return self._dimension(base_node.value, node.slice[0].slice)
        base = self.of(base_node)
        if base is Reduction.SAME:
            return self._elementwise([x for y in node.slice for x in _indices(y.slice)])
        index = node.slice[0].slice
        is_batch = isinstance(base_node, cst.Name) and isinstance(self._region, cst.For)
        is_field = isinstance(index, cst.Index) and (
            isinstance(index.value, cst.SimpleString)
            or (is_batch and self._is_target(cst.ensure_type(base_node, cst.Name).value))
        )
        return base if base is Reduction.BATCH and is_field else Reduction.UNKNOWN

    def _dimension(self, tensor: cst.BaseExpression, index: cst.BaseSlice) -> Reduction:
        base = self.of(tensor)
        if base is not Reduction.BATCH:
            return Reduction.SAME if base is Reduction.SAME else Reduction.UNKNOWN
        first = isinstance(index, cst.Index) and isinstance(index.value, cst.Integer)
        is_first = first and cst.ensure_type(index, cst.Index).value.deep_equals(cst.Integer("0"))
        return Reduction.SIZE if is_first else Reduction.UNKNOWN

    def _call(self, call: cst.Call) -> Reduction:
        loss = self._rules.of_criterion(call)
        values = [self.of(arg.value) for arg in call.args]
        if loss is not None:
            return loss if Reduction.BATCH in values else Reduction.UNKNOWN
        imported = self._program.imported(call.func)
        if imported == "builtins.len" and len(values) == 1:
            return Reduction.SIZE if values[0] is Reduction.BATCH else values[0]
        if imported in _CASTS and len(values) == 1:
            return values[0]
        if imported in ("torch.sum", "torch.mean", "builtins.sum"):
            return self._reduced(imported.rpartition(".")[2], values[0], call.args[1:])
        if imported in _MIXING and values.count(Reduction.BATCH) > 1:
            return Reduction.UNKNOWN
        if imported in _MAKERS:
            # `torch.ones(batch.size(0))` has one value for each sample.
            sizes = [self.of(x) for arg in call.args for x in _elements(arg.value)]
            made = {Reduction.BATCH if x is Reduction.SIZE else x for x in sizes}
            return self._opaque(list(made))
        local = self._kinds.definitions.get(self._program.defined(call.func) or "")
        if isinstance(local, cst.FunctionDef):
            return self._local_call(local, call)
        if imported is None and isinstance(call.func, cst.Attribute):
            return self._method(call, call.func, values)
        return self._opaque(values)

    def _opaque(self, values: list[Reduction]) -> Reduction:
        if any(value in _SCALARS or value is Reduction.UNKNOWN for value in values):
            return Reduction.UNKNOWN
        return Reduction.BATCH if Reduction.BATCH in values else Reduction.SAME

    def _method(self, call: cst.Call, func: cst.Attribute, values: list[Reduction]) -> Reduction:
        name, base = func.attr.value, self.of(func.value)
        if name == "item":
            return Reduction.UNKNOWN if base is Reduction.BATCH else base
        if name in _PASSES:
            return base
        if name in ("sum", "mean"):
            return self._reduced(name, base, call.args)
        if name in ("numel", "nelement"):
            return Reduction.SIZE if base is Reduction.BATCH else base
        if name == "size" and len(call.args) == 1:
            return self._dimension(func.value, cst.Index(call.args[0].value))
        if name in ("matmul", "mm", "bmm") and base is Reduction.BATCH in values:
            return Reduction.UNKNOWN
        if name in _OVER_ALL and not call.args and base is not Reduction.SAME:
            return Reduction.UNKNOWN
        return self._opaque([base, *values])

    def _reduced(self, how: str, base: Reduction, args: Sequence[cst.Arg]) -> Reduction:
        if base is not Reduction.BATCH:
            # The sum or the mean of one number is that number.
            return base
        if not args:
            return Reduction.SUM if how == "sum" else Reduction.MEAN
        dim = args[0].value
        text = self._program.code(dim)
        keeps_samples = isinstance(dim, cst.Integer | cst.UnaryOperation) and text != "0"
        return Reduction.BATCH if keeps_samples else Reduction.UNKNOWN

    def _local_call(self, function: cst.FunctionDef, call: cst.Call) -> Reduction:
        """Follow a call into one of the program's own functions."""
        if self._depth > 3 or any(arg.star for arg in call.args):
            return Reduction.UNKNOWN
        given: dict[str, Reduction] = {}
        names = [parameter.name.value for parameter in parameters(function)]
        for position, arg in enumerate(call.args):
            key = arg.keyword.value if arg.keyword else (names[position : position + 1] or [""])[0]
            given[key] = self.of(arg.value)
        for name in names:
            given.setdefault(name, Reduction.SAME)
        inner = _Scope(self._program, self._kinds, function, given, self._depth + 1)
        returned = [x.value for x in walk_own(function, cst.Return) if x.value is not None]
        found = {inner.of(value) for value in returned}
        return found.pop() if len(found) == 1 else Reduction.UNKNOWN


def _indices(node: cst.BaseSlice) -> list[cst.BaseExpression]:
    return [node.value] if isinstance(node, cst.Index) else []


def _elements(node: cst.BaseExpression) -> list[cst.BaseExpression]:
    if isinstance(node, cst.Tuple | cst.List):
        return [x.value for x in node.elements]
    return [node]
