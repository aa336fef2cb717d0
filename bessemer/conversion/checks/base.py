"""What all checks share: what they read, what a finding is, and the shape of their examples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import libcst as cst

from bessemer.conversion.codebase import Codebase, join
from bessemer.conversion.hooked import LOADERS, Loops
from bessemer.conversion.liveness import Liveness
from bessemer.conversion.origins import Found, Origins
from bessemer.conversion.sources import Source

STATEFUL_PLACES = {
    "torch.optim.lr_scheduler.": "learning rate scheduler",
    "torch.optim.swa_utils.": "averaged model",
    "torch.optim.": "optimizer",
    "torch.amp.GradScaler": "gradient scaler",
    "torch.cuda.amp.GradScaler": "gradient scaler",
    "torch.amp.grad_scaler.GradScaler": "gradient scaler",
}
_NOT_MODELS = ("torch.nn.functional.", "torch.nn.utils.", "torch.nn.init.", "torch.nn.Parameter")


@dataclass(frozen=True)
class Finding:
    """One place that a restart would not come through as if nothing had happened.

    Attributes:
        rule: name of the check.
        where: `file:line`.
        line: the line alone.
        name: the value or the call it is about.
        found: what is wrong, and why.
        todo: what to write instead.
        loses: whether a restart loses state; otherwise it only loses time.
    """

    rule: str
    where: str
    line: int
    name: str
    found: str
    todo: str
    loses: bool = True


@dataclass(frozen=True)
class Case:
    """One example of a check: test and manual at once.

    Lines that must be found end in `# lost: name`; an example without any must be clean.
    """

    why: str
    code: str


@dataclass(frozen=True, eq=False)
class Reading:
    """A program as the checks see it."""

    code: Codebase
    origins: Origins
    loops: Loops
    liveness: Liveness

    def finding(
        self, rule: str, node: cst.CSTNode, name: str, found: str, todo: str, loses: bool = True
    ) -> Finding:
        """Make a finding for a place of the program."""
        return Finding(rule, self.code.where(node), self.code.line(node), name, found, todo, loses)

    def tracked(self) -> Found:
        """Return where everything comes from that `run.track` or `run.place` is given."""
        found: set[cst.CSTNode] = set()
        for call in self.code.calls():
            if self.origins.called(call) in ("run.track", "run.place"):
                for arg in call.args:
                    found |= self.origins.of(arg.value, (-1,) if arg.star else ())
        return frozenset(found)

    def tracks_what_nobody_can_follow(self) -> bool:
        """Tell whether some `run.track(**objects)` gets objects that were not found."""
        tracks = (x for x in self.code.calls() if self.origins.called(x) == "run.track")
        starred = (arg for call in tracks for arg in call.args if arg.star)
        return any(not self.origins.of(arg.value, (-1,)) for arg in starred)

    def stateful(self, node: cst.CSTNode) -> str | None:
        """Return what kind of thing with a state a call makes: an optimizer, a model; else None."""
        if not isinstance(node, cst.Call):
            return None
        meant = self.code.meant(node.func)
        if isinstance(meant, cst.ClassDef):
            return "model" if self.code.is_module(meant) else None
        name = self.origins.called(node) or ""
        last = name.rpartition(".")[2]
        if not last[:1].isupper():
            return None
        for start, kind in STATEFUL_PLACES.items():
            if name.startswith(start):
                return kind
        is_model = name.startswith("torch.nn.") and not name.startswith(_NOT_MODELS)
        return "model" if is_model and not last.endswith("Loss") else None

    def is_carried(self, node: cst.BaseExpression) -> bool:
        """Tell whether an expression is `run.carry`, `run.last` or `run.totals` values."""
        found = (self.origins.called(x) for x in self.origins.of(node))
        return any(x in ("run.carry", "run.last", "run.totals") for x in found)

    def is_position(self, node: cst.CSTNode) -> bool:
        """Tell whether something is a loader, or an iterator of one, whose position is kept."""
        if not isinstance(node, cst.Call):
            return False
        called = self.origins.called(node)
        if called == "builtins.iter" and node.args:
            return self.loops.loader_in(node.args[0].value)
        return called in LOADERS or self.loops.loader_in(node)


def reading_of(sources: Iterable[Source], package: str = "", shown: str = "") -> Reading:
    """Read files as one program."""
    code = join(sources, package, shown)
    origins = Origins(code)
    return Reading(code, origins, Loops(code, origins), Liveness(code, origins))
