"""The choice of a device becomes `run.device`.

Which device a worker has is decided by the run's settings. What only served the choice (a test for
CUDA, a branch for each kind of accelerator) goes with it, if it has no other effect.
"""

from __future__ import annotations

from collections.abc import Iterable

import libcst as cst

from bessemer.conversion.analysis import Analysis
from bessemer.conversion.inference import call_of
from bessemer.conversion.kinds import Kind
from bessemer.conversion.rewrites.base import Case, LeftStatement, Rewriter
from bessemer.conversion.rewrites.effects import is_free_of_effects
from bessemer.conversion.syntax import assigned, code_of, self_parameter, small, statements, walk

_REASON = "the run decides which device a worker has"


class DeviceRewriter(Rewriter):
    """Replaces assignments of a device and removes what becomes idle with them."""

    kind = "device"
    TITLE = "The device"

    def __init__(self, analysis: Analysis) -> None:
        super().__init__(analysis)
        self._assignments = {
            statement: target
            for function in analysis.script.callables
            for statement in walk(function, cst.SimpleStatementLine)
            if (target := self._target(statement)) is not None
        }
        self._choices = {
            node: target
            for function in analysis.script.callables
            for node in walk(function, cst.If)
            if (target := self._choice(node)) is not None
        }
        self._idle = self._find_idle()
        calls = [call for function in analysis.script.callables for call in walk(function, cst.Call)]
        self._moves = {call for call in calls if self._moves_there(call)}
        self._written = {
            arg
            for call in calls
            if call not in self._moves
            for arg in call.args
            if arg.keyword is not None
            and arg.keyword.value in ("device", "map_location")
            and self._is_accelerator(arg.value)
        }

    def run_uses(self) -> Iterable[cst.CSTNode]:
        """Every assignment of a device, and every place that has one written out."""
        there = [*self._moves, *self._written]
        asking = [x for x in there if code_of(self._device_here(x)).startswith(self.analysis.run)]
        return [*self._assignments, *asking]

    def _moves_there(self, call: cst.Call) -> bool:
        """Tell whether a call moves something that is no model to a device that is written out."""
        method = call_of(call, "to", "cuda")
        if method is None or self.analysis.kinds.is_a(method.value, Kind.MODULE):
            return False
        if self.program.imported(call.func) is not None:
            return False
        if method.attr.value == "cuda":
            return True
        first = call.args[0] if call.args else None
        return first is not None and first.keyword is None and self._is_accelerator(first.value)

    def _is_accelerator(self, node: cst.BaseExpression) -> bool:
        """Tell whether an expression is a device that is no choice of the run: "cuda:0", 0."""
        kinds = self.analysis.kinds
        if kinds.is_a(node, Kind.NUMBER):
            return True
        if isinstance(node, cst.Name | cst.Attribute) or not kinds.is_a(node, Kind.DEVICE, Kind.DEVICE_NAME):
            return False
        return "cuda" in self.program.code(node) or "mps" in self.program.code(node)

    def _target(self, statement: cst.SimpleStatementLine) -> cst.Name | None:
        pair = assigned(statement)
        if pair is None or len(pair[0]) != 1 or not isinstance(pair[0][0], cst.Name):
            return None
        target, value = pair[0][0], pair[1]
        if not isinstance(value, cst.Call | cst.IfExp | cst.SimpleString | cst.FormattedString):
            return None
        if not self.analysis.kinds.is_a(value, Kind.DEVICE, Kind.DEVICE_NAME):
            return None
        if not is_free_of_effects(self.program, value):
            return None
        if isinstance(value, cst.Call) or self._is_device(target):
            return target
        return None

    def _is_device(self, target: cst.Name) -> bool:
        """A text that names a device is one only where something is moved to it."""
        function = self.program.function(target)
        if function is None or not self.analysis.kinds.is_a(target, Kind.DEVICE, Kind.DEVICE_NAME):
            return False
        return any(self._moves_to(name) for name in self.program.occurrences(target.value, function))

    def _moves_to(self, name: cst.Name) -> bool:
        arg = self.program.parent(name)
        call = self.program.parents.get(arg)
        if not isinstance(arg, cst.Arg) or not isinstance(call, cst.Call):
            return False
        is_to = isinstance(call.func, cst.Attribute) and call.func.attr.value == "to"
        is_keyword = arg.keyword is not None and arg.keyword.value in ("device", "map_location")
        return is_to or is_keyword or self.program.defined(call.func) is not None

    def _choice(self, node: cst.If) -> cst.Name | None:
        """Return the device's name if all an `if` does is to choose it."""
        targets: list[cst.Name] = []
        branch: cst.If | cst.Else | None = node
        while branch is not None:
            body = statements(branch.body)
            if len(body) != 1 or body[0] not in self._assignments:
                return None
            targets.append(self._assignments[cst.ensure_type(body[0], cst.SimpleStatementLine)])
            if isinstance(branch, cst.If):
                if not is_free_of_effects(self.program, branch.test):
                    return None
                branch = branch.orelse
            else:
                branch = None
        return targets[0] if len({target.value for target in targets}) == 1 else None

    def _is_complete(self, node: cst.If) -> bool:
        while isinstance(node.orelse, cst.If):
            node = node.orelse
        return node.orelse is not None

    def _find_idle(self) -> set[cst.CSTNode]:
        """Find assignments that are read by nothing but what this rewrite removes."""
        removed: set[cst.CSTNode] = set(self._choices)
        removed |= {pair[1] for x in self._assignments if (pair := assigned(x)) is not None}
        idle: set[cst.CSTNode] = set()
        while more := {
            statement
            for function in self.analysis.script.callables
            for statement in walk(function, cst.SimpleStatementLine)
            if statement not in idle
            and statement not in self._assignments
            and self._serves_only(function, statement, removed | idle)
        }:
            idle |= more
        return idle

    def _serves_only(
        self, function: cst.FunctionDef, statement: cst.SimpleStatementLine, gone: set[cst.CSTNode]
    ) -> bool:
        pair = assigned(statement)
        if pair is None or len(pair[0]) != 1 or not isinstance(pair[0][0], cst.Name):
            return False
        uses = self.program.occurrences(pair[0][0].value, function)
        reads = [x for x in uses if x is not pair[0][0]]
        inside = all(
            self.program.is_load(x) and any(y in gone for y in (x, *self.program.ancestors(x))) for x in reads
        )
        return bool(reads) and inside and is_free_of_effects(self.program, pair[1])

    def _device(self, target: cst.Name) -> cst.BaseExpression:
        function = self.program.function(target)
        uses = self.program.occurrences(target.value, function) if function is not None else []
        is_text = self.analysis.kinds.is_a(target, Kind.DEVICE_NAME)
        only_passed = all(
            isinstance(self.program.parent(x), cst.Arg) for x in uses if self.program.is_load(x)
        )
        device = self.on_run("device")
        return device if only_passed or not is_text else cst.Attribute(device, cst.Name("type"))

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> LeftStatement:
        """Replace the choice of a device, and remove what only served it."""
        if original_node in self._idle:
            self.note(original_node, "", "only served the choice of the device")
            return cst.RemoveFromParent()
        target = self._assignments.get(original_node)
        inner = small(updated_node)
        if target is None or not isinstance(inner, cst.Assign | cst.AnnAssign):
            return updated_node
        changed = updated_node.with_changes(body=[inner.with_changes(value=self._device(target))])
        if not any(x in self._choices for x in self.program.ancestors(original_node)):
            self.note(original_node, changed.with_changes(leading_lines=()), _REASON)
            self._ask(original_node)
        return changed

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        """Send what is moved to a device that is written out to that of the run."""
        if original_node not in self._moves:
            return updated_node
        device = self._device_here(original_node)
        func = cst.ensure_type(updated_node.func, cst.Attribute)
        is_cuda = func.attr.value == "cuda"
        pairs = zip(original_node.args, updated_node.args, strict=True)
        args = [
            new
            if old.keyword is not None and old.keyword.value not in ("device", "map_location")
            else new.with_changes(value=device)
            for old, new in pairs
            if not is_cuda or old.keyword is not None
        ]
        if is_cuda:
            args = [x for x in args if x.keyword is None or x.keyword.value != "device"]
            args = [cst.Arg(device), *args]
            func = func.with_changes(attr=cst.Name("to"))
        changed = updated_node.with_changes(func=func, args=args)
        self.note(original_node, changed, _REASON)
        return changed

    def leave_Arg(self, original_node: cst.Arg, updated_node: cst.Arg) -> cst.Arg:
        """Replace a device that is written out, where something is made or loaded on it."""
        if original_node not in self._written:
            return updated_node
        changed = updated_node.with_changes(value=self._device_here(original_node))
        self.note(original_node, changed, _REASON)
        return changed

    def _device_here(self, node: cst.CSTNode) -> cst.BaseExpression:
        """Return the device in some place; a model is also used where there is no run."""
        owner, function = self.program.definition(node), self.program.function(node)
        in_model = isinstance(owner, cst.ClassDef) and self.analysis.kinds.definitions.is_module_class(owner)
        own = self_parameter(function) if function is not None else None
        if in_model and own is not None and function is not None and function.name.value != "__init__":
            return cst.parse_expression(f"next({own}.parameters()).device")
        return self.on_run("device")

    def leave_If(self, original_node: cst.If, updated_node: cst.If) -> LeftStatement:
        """Collapse branches that have become the same."""
        if original_node not in self._choices:
            return updated_node
        if isinstance(self.program.parent(original_node), cst.If):
            return updated_node
        if not self._is_complete(original_node):
            self.note(original_node, "", _REASON)
            return cst.RemoveFromParent()
        body = cst.ensure_type(statements(updated_node.body)[0], cst.SimpleStatementLine)
        self.note(original_node, body.with_changes(leading_lines=()), _REASON)
        self._ask(original_node)
        return body.with_changes(leading_lines=[*updated_node.leading_lines, *body.leading_lines])

    def _ask(self, node: cst.CSTNode) -> None:
        options = sorted(self._options(node, set()))
        if options:
            self.ask(
                node,
                f"{', '.join(options)} took part in choosing the device; now the run chooses it",
                "choose what workers compute on by scaling.device",
            )

    def _options(self, node: cst.CSTNode, seen: set[cst.CSTNode]) -> set[str]:
        """Return the options that a choice depends on, through the variables it reads."""
        found = {
            x.attr.value
            for x in walk(node, cst.Attribute)
            if self.analysis.kinds.is_a(x.value, Kind.SETTINGS)
        }
        for name in walk(node, cst.Name):
            for binding in self.program.bindings(name) if self.program.is_load(name) else ():
                if binding in seen or not isinstance(binding, cst.Name):
                    continue
                pair = assigned(self.program.statement(binding))
                if pair is not None and self.program.function(binding) is not None:
                    found |= self._options(pair[1], seen | {binding})
        return found


CASES = (
    Case(
        "one expression",
        """
        import torch
        def main():
            device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        """,
        """
        import torch
        def main():
            device = run.device
        """,
    ),
    Case(
        "branches that become the same are one; what only served them goes",
        """
        import torch
        def main(use_mps):
            use_cuda = torch.cuda.is_available()
            # the fastest there is
            if use_cuda:
                device = torch.device("cuda")
            elif use_mps:
                device = torch.device("mps")
            else:
                device = torch.device("cpu")
        """,
        """
        import torch
        def main(use_mps):
            # the fastest there is
            device = run.device
        """,
    ),
    Case(
        "what is also used elsewhere stays",
        """
        import torch
        def main():
            use_cuda = torch.cuda.is_available()
            device = "cuda" if use_cuda else "cpu"
            x = torch.zeros(1, device=device, pin_memory=use_cuda)
        """,
        """
        import torch
        def main():
            use_cuda = torch.cuda.is_available()
            device = run.device
            x = torch.zeros(1, device=device, pin_memory=use_cuda)
        """,
    ),
    Case(
        "what is moved to a device that is written out",
        """
        import torch
        from torch import nn
        class Net(nn.Module):
            def forward(self, x):
                return x + torch.zeros(3).cuda()
        def main(rank):
            gpu = 0
            x = torch.zeros(3).cuda(gpu, non_blocking=True)
            y = torch.ones(3).to("cuda:0")
            z = torch.ones(3, device="cuda").to("cpu")
            state = torch.load("x.pt", map_location=f"cuda:{gpu}")
        """,
        """
        import torch
        from torch import nn
        class Net(nn.Module):
            def forward(self, x):
                return x + torch.zeros(3).to(next(self.parameters()).device)
        def main(rank):
            gpu = 0
            x = torch.zeros(3).to(run.device, non_blocking=True)
            y = torch.ones(3).to(run.device)
            z = torch.ones(3, device=run.device).to("cpu")
            state = torch.load("x.pt", map_location=run.device)
        """,
    ),
    Case(
        "a text that moves nothing is only a text",
        """
        def main():
            name = "cpu" if small else "cuda"
            print(name)
        """,
        None,
    ),
)
