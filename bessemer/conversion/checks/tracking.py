"""Optimizers, schedulers, scalers and models whose state no checkpoint has.

`run.track` names what must survive a restart, and `run.place` does it for models. What is made and used in
training and given to neither begins anew: momentum at zero, a rate at its start, weights at random.
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from bessemer.conversion.checks.base import Case, Finding, Reading
from bessemer.conversion.syntax import walk

RULE = "tracking"
_PARTS = frozenset({"parameters", "named_parameters", "buffers", "state_dict"})
_COPIES = frozenset({"copy.deepcopy", "copy.copy"})


def find(reading: Reading) -> Iterator[Finding]:
    """Find what has a state and is never tracked."""
    if not reading.loops.all or reading.tracks_what_nobody_can_follow():
        return
    tracked = reading.tracked()
    trained = _trained(reading)
    for call in reading.code.calls():
        kind = _kind(reading, call)
        if kind is None or call in tracked or _is_part(reading, call):
            continue
        if kind == "model" and call not in trained:
            continue
        name = _name(reading, call)
        keyword = name.rpartition(".")[2]
        place = " or run.place" if kind == "model" else ""
        also = f", or {name} = run.place({name})" if kind == "model" else ""
        yield reading.finding(
            RULE,
            call,
            name,
            f"{name} is never given to run.track{place}; a restart begins with a new {kind}",
            f"run.track({keyword if keyword.isidentifier() else kind}={name}){also}, before the loop",
        )


def _kind(reading: Reading, call: cst.Call) -> str | None:
    if reading.origins.called(call) in _COPIES and call.args:
        copied = [reading.stateful(x) for x in reading.origins.of(call.args[0].value)]
        return "model" if "model" in copied else None
    return reading.stateful(call)


def _trained(reading: Reading) -> frozenset[cst.CSTNode]:
    """Return the models that change: whose parameters an optimizer has, and copies that are averaged."""
    found: set[cst.CSTNode] = set()
    for call in reading.code.calls():
        if reading.stateful(call) == "optimizer":
            for name in walk(call, cst.Attribute):
                if name.attr.value in ("parameters", "named_parameters"):
                    found |= reading.origins.of(name.value)
        elif reading.origins.called(call) in _COPIES:
            found.add(call)
    return frozenset(found)


def _is_part(reading: Reading, call: cst.Call) -> bool:
    """Tell whether something is a part of a module, or made only to be looked at or handed on."""
    function = reading.code.around(call)
    owner = reading.code.owner(function) if function is not None else None
    if function is None or (owner is not None and reading.code.is_module(owner)):
        return True
    if reading.origins.called(call) in _COPIES:
        # A copy that is kept to be put back or saved is a value; one that is averaged changes in place.
        return not _is_averaged(reading, call)
    return False


def _is_averaged(reading: Reading, copy: cst.Call) -> bool:
    """Tell whether parameters of a copied model are changed in place somewhere."""
    for name in walk(reading.code.file(copy), cst.Attribute):
        if name.attr.value in _PARTS and copy in reading.origins.of(name.value):
            loop = reading.code.enclosing(name, cst.For)
            body = walk(loop.body, cst.Attribute) if loop is not None else ()
            if any(x.attr.value.endswith("_") and x.attr.value != "requires_grad_" for x in body):
                return True
    return False


def _name(reading: Reading, call: cst.Call) -> str:
    """Return what a call's result is assigned to, or the call."""
    node: cst.CSTNode = call
    while not isinstance(node, cst.BaseSmallStatement | cst.BaseStatement):
        node = reading.code.parents[node]
        if isinstance(node, cst.Assign) and len(node.targets) == 1:
            target = node.targets[0].target
            if not isinstance(target, cst.Tuple):
                return reading.code.code(target)
    return reading.code.code(call)


CASES = (
    Case(
        "an optimizer and a scheduler that nobody tracks",
        """
        from torch import nn, optim
        from torch.optim.lr_scheduler import StepLR
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(1, 1)
        def main(run, settings):
            loader = run.loader(data)
            model = run.place(Net())
            optimizer = optim.Adam(model.parameters())  # lost: optimizer
            scheduler = StepLR(optimizer, 1)  # lost: scheduler
            for x in loader:
                optimizer.step()
        """,
    ),
    Case(
        "all of them tracked, where they were made or elsewhere",
        """
        import torch
        from torch import nn, optim
        class Net(nn.Module): ...
        def make(model):
            optimizer = optim.Adam(model.parameters())
            return optimizer, torch.amp.GradScaler()
        def main(run, settings):
            loader = run.loader(data)
            model = Net().to(run.device)
            optimizer, scaler = make(model)
            criterion, teacher = nn.CrossEntropyLoss(), nn.Linear(1, 1)
            run.track(model=model, optimizer=optimizer, scaler=scaler)
            for x in loader:
                optimizer.step()
        """,
    ),
    Case(
        "a model that is trained, and the average of its weights",
        """
        import copy
        from torch import nn, optim
        def main(run, settings):
            loader = run.loader(data)
            model = nn.Sequential(nn.Linear(1, 1))  # lost: model
            ema = copy.deepcopy(model)  # lost: ema
            optimizer = optim.Adam(model.parameters())
            run.track(optimizer=optimizer)
            for x in loader:
                optimizer.step()
                for e, p in zip(ema.parameters(), model.parameters()):
                    e.mul_(0.9).add_(p)
        """,
    ),
    Case(
        "objects in a list and in attributes",
        """
        import torch
        class Trainer:
            def __init__(self, run, model):
                self.model = run.place(model)
                self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
                self.others = [torch.optim.SGD(self.model.parameters(), lr=0.1)]  # lost: self.others
                self.loader = run.loader(data)
                run.track(optimizer=self.optimizer)
            def fit(self):
                for x in self.loader:
                    self.optimizer.step()
        """,
    ),
    Case(
        "a dictionary of tracked objects",
        """
        import torch
        def main(run, settings):
            loader, model = run.loader(data), run.place(Net())
            parts = {"a": torch.optim.SGD(model.parameters()), "b": torch.optim.SGD(model.parameters())}
            run.track(**parts)
            for x in loader:
                parts["a"].step()
        """,
    ),
    Case(
        "tracked one by one in a loop",
        """
        import torch
        def main(run, settings):
            loader, model = run.loader(data), run.place(Net())
            both = [torch.optim.SGD(model.parameters()), torch.optim.Adam(model.parameters())]
            for number, optimizer in enumerate(both):
                run.track(**{f"optimizer{number}": optimizer})
            for x in loader:
                both[0].step()
        """,
    ),
)
