"""`model.to(device)` and `model.cuda()` become `run.place(model)`.

Placing puts the model on the worker's device, makes it equal on all workers and, if asked, shards it. It
must happen on every worker, so a move that stood under a condition stands alone afterwards. A
model that is trained but was never moved, or only in some of several branches, is placed where it is made.
Batches keep their `.to(device)`.
"""

from __future__ import annotations

from collections.abc import Iterable

import libcst as cst

from bessemer.conversion.analysis import Analysis
from bessemer.conversion.copies import COPIES, is_copy
from bessemer.conversion.inference import WRAPPERS, call_of
from bessemer.conversion.kinds import Kind
from bessemer.conversion.rewrites.base import Case, LeftStatement, Rewriter
from bessemer.conversion.rewrites.effects import is_free_of_effects
from bessemer.conversion.syntax import small, statements, walk

_REASON = "on the worker's device, and equal on all workers"
_PARAMETERS = ("parameters", "named_parameters")


class PlacementRewriter(Rewriter):
    """Takes hold of where models go."""

    kind = "placement"
    TITLE = "Where the model goes"

    def __init__(self, analysis: Analysis) -> None:
        super().__init__(analysis)
        functions = analysis.script.callables
        calls = [call for function in functions for call in walk(function, cst.Call)]
        self._moves = {call for call in calls if self._is_move(call)}
        self._sometimes = {call for call in self._moves if self._is_under_condition(call)}
        self._moves -= self._sometimes
        self._made = self._never_moved(calls)

    def run_uses(self) -> Iterable[cst.CSTNode]:
        """Every move of a model, and every model that is never moved."""
        by_hand = [x for x in self._sometimes if call_of(x, "cuda") is not None]
        return [*self._moves, *self._made, *by_hand]

    def _is_under_condition(self, move: cst.Call) -> bool:
        """Tell whether a model that is made elsewhere is moved in a branch, together with other things."""
        branch = self.program.enclosing(move, cst.If)
        if branch is None or self.program.function(branch) is not self.program.function(move):
            return False
        method = cst.ensure_type(move.func, cst.Attribute)
        value = self.analysis.kinds.of(method.value)
        origins = value.origins if value is not None else frozenset()
        if origins and all(branch in self.program.ancestors(x) for x in origins):
            return False
        outer = branch
        while isinstance(self.program.parent(outer), cst.If):
            outer = cst.ensure_type(self.program.parent(outer), cst.If)
        return not is_conditional_move(self.program.parent(outer), outer, self)

    def _is_move(self, call: cst.Call) -> bool:
        method = call_of(call, "to", "cuda")
        if method is None or not self.analysis.kinds.is_a(method.value, Kind.MODULE):
            return False
        return method.attr.value == "cuda" or any(self._is_device(arg) for arg in call.args)

    def _is_device(self, arg: cst.Arg) -> bool:
        if arg.keyword is not None:
            return arg.keyword.value == "device"
        if self.analysis.kinds.is_a(arg.value, Kind.DEVICE, Kind.DEVICE_NAME):
            return True
        # `torch.float16` is a type; anything else that is handed to a model's `to` is a device.
        is_type = (self.program.imported(arg.value) or "").startswith("torch.")
        return not is_type and not isinstance(arg.value, cst.BaseNumber)

    def _never_moved(self, calls: list[cst.Call]) -> set[cst.Call]:
        """Find the constructors of models whose parameters are used, and that nothing moves."""
        moved: set[cst.Call] = set()
        for call in self._moves:
            moved |= self._moved_by(cst.ensure_type(call.func, cst.Attribute).value)
        parts = {
            origin
            for call in calls
            if self.analysis.kinds.is_a(call, Kind.MODULE) and call_of(call, "to", "cuda") is None
            if self.program.imported(call.func) not in WRAPPERS | COPIES
            for arg in call.args
            if (value := self.analysis.kinds.of(arg.value)) is not None and value.kind is Kind.MODULE
            for origin in value.origins
            if origin is not call
        }
        used: set[cst.Call] = set()
        for call in calls:
            method = call_of(call, *_PARAMETERS)
            value = self.analysis.kinds.of(method.value) if method is not None else None
            if value is not None and value.kind is Kind.MODULE:
                used |= value.origins
        inside = {x for x in used if self.program.enclosing(x, cst.ClassDef) is not None}
        # What a model was copied from is placed, so the copy is where it is.
        copies = {x for x in used if is_copy(self.program, x)}
        return used - moved - parts - inside - copies

    def _moved_by(self, model: cst.BaseExpression) -> frozenset[cst.Call]:
        """Return where a model that is moved may be made: not where its variable has another one by then."""
        kinds, program = self.analysis.kinds, self.program
        function = program.function(model)
        stores = []
        if isinstance(model, cst.Name) and function is not None:
            found = program.occurrences(model.value, function)
            stores = [x for x in found if program.is_store(x) and program.before(x, program.statement(model))]
        blocks = set(program.ancestors(model))
        surely = [i for i, x in enumerate(stores) if program.parent(program.statement(x)) in blocks]
        values = [kinds.of(x) for x in stores[surely[-1] :]] if surely else [kinds.of(model)]
        return frozenset().union(*(x.origins for x in values if x is not None))

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        """Replace a move, or wrap the construction of a model that is never moved."""
        if original_node in self._made:
            changed = self.call_run("place", [cst.Arg(updated_node)])
            self.note(original_node, changed, _REASON)
            self.ask(
                original_node,
                "the research code moves nothing to a device; the model is placed, batches are not",
                'train on CPU workers (scaling.device = "cpu"), or move batches to run.device',
            )
            return changed
        if original_node in self._sometimes and call_of(original_node, "cuda") is not None:
            moved = cst.ensure_type(updated_node.func, cst.Attribute).with_changes(attr=cst.Name("to"))
            changed = updated_node.with_changes(func=moved, args=[cst.Arg(self.on_run("device"))])
            self.note(original_node, changed, "the run decides which device a worker has")
            return changed
        if original_node not in self._moves:
            return updated_node
        func = cst.ensure_type(updated_node.func, cst.Attribute)
        pairs = zip(original_node.args, updated_node.args, strict=True)
        is_to = func.attr.value == "to"
        kept = [new for old, new in pairs if is_to and not self._is_device(old)]
        model: cst.BaseExpression = func.value
        if kept:
            kept[-1] = kept[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
            model = updated_node.with_changes(args=kept)
        changed = self.call_run("place", [cst.Arg(model)])
        self.note(original_node, changed, _REASON)
        return changed

    def leave_Expr(self, original_node: cst.Expr, updated_node: cst.Expr) -> cst.BaseSmallStatement:
        """`model.to(device)` as a statement moves in place; placing returns the model."""
        name = self._moved_name(original_node)
        if name is None:
            return updated_node
        return cst.Assign([cst.AssignTarget(cst.Name(name))], updated_node.value)

    def _moved_name(self, node: cst.CSTNode | None) -> str | None:
        if not isinstance(node, cst.Expr) or node.value not in self._moves:
            return None
        func = cst.ensure_type(cst.ensure_type(node.value, cst.Call).func, cst.Attribute)
        return func.value.value if isinstance(func.value, cst.Name) else None

    def leave_If(self, original_node: cst.If, updated_node: cst.If) -> LeftStatement:
        """Take a move out of its condition."""
        if not is_conditional_move(self.program.parent(original_node), original_node, self):
            return updated_node
        body = list(statements(updated_node.body))
        self.note(
            original_node,
            "; ".join(self.program.module.code_for_node(x).strip() for x in body),
            "models are placed on every worker, whatever the device",
        )
        first = cst.ensure_type(body[0], cst.SimpleStatementLine)
        body[0] = first.with_changes(leading_lines=[*updated_node.leading_lines, *first.leading_lines])
        return cst.FlattenSentinel(body)

    def is_placing(self, statement: cst.CSTNode) -> bool:
        """Tell whether a statement does nothing but move a model."""
        inner = small(statement)
        if isinstance(inner, cst.Assign):
            return inner.value in self._moves
        return self._moved_name(inner) is not None

    def is_question(self, node: cst.BaseExpression) -> bool:
        """Tell whether a test only asks something."""
        return is_free_of_effects(self.program, node)


def is_conditional_move(parent: cst.CSTNode, node: cst.If, rewriter: PlacementRewriter) -> bool:
    """Tell whether an `if` without `else` holds nothing but moves of models."""
    body = statements(node.body)
    return (
        bool(body)
        and node.orelse is None
        and not isinstance(parent, cst.If)
        and all(rewriter.is_placing(x) for x in body)
        and rewriter.is_question(node.test)
    )


CASES = (
    Case(
        "a variable that has one model after the other, of which one is moved",
        """
        from torch import nn, optim
        def main(device):
            model = nn.Linear(2, 1)
            opt = optim.SGD(model.parameters(), lr=0.1)
            opt.step()
            model = nn.Linear(3, 1)
            model.to(device)
            opt = optim.SGD(model.parameters(), lr=0.1)
        """,
        """
        from torch import nn, optim
        def main(device):
            model = run.place(nn.Linear(2, 1))
            opt = optim.SGD(model.parameters(), lr=0.1)
            opt.step()
            model = nn.Linear(3, 1)
            model = run.place(model)
            opt = optim.SGD(model.parameters(), lr=0.1)
        """,
    ),
    Case(
        "at construction and as a statement",
        """
        from torch import nn
        class Net(nn.Module):
            pass
        def main(device):
            model = Net(3).to(device)
            head = nn.Linear(2, 1)
            head.to(device)
            batch = batch.to(device)
        """,
        """
        from torch import nn
        class Net(nn.Module):
            pass
        def main(device):
            model = run.place(Net(3))
            head = nn.Linear(2, 1)
            head = run.place(head)
            batch = batch.to(device)
        """,
    ),
    Case(
        "a move under a condition stands alone",
        """
        import torch
        def main(use_cuda):
            model = torch.nn.Linear(2, 1)
            if use_cuda:
                model.cuda()
        """,
        """
        import torch
        def main(use_cuda):
            model = torch.nn.Linear(2, 1)
            model = run.place(model)
        """,
    ),
    Case(
        "moved in some of several branches, it is placed where it is made",
        """
        import torch
        def main(several, device):
            model = torch.nn.Linear(2, 1)
            if several:
                print("several")
                model.cuda()
            else:
                model.to(device)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        """,
        """
        import torch
        def main(several, device):
            model = run.place(torch.nn.Linear(2, 1))
            if several:
                print("several")
                model.to(run.device)
            else:
                model.to(device)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        """,
    ),
    Case(
        "something unknown whose parameters are trained is a model",
        """
        import torch
        import zoo
        def main():
            model = zoo.create("small")
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        """,
        """
        import torch
        import zoo
        def main():
            model = run.place(zoo.create("small"))
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        """,
    ),
    Case(
        "a model that is trained and never moved is placed where it is made",
        """
        import torch
        def main():
            model = torch.nn.Linear(2, 1)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        """,
        """
        import torch
        def main():
            model = run.place(torch.nn.Linear(2, 1))
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        """,
    ),
    Case(
        "a type is not a device",
        """
        import torch
        def main():
            model = torch.nn.Linear(2, 1)
            model = model.to(torch.float64)
        """,
        None,
    ),
)
