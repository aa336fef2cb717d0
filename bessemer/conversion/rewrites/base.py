"""What all rewrites share: their shape, their cases, and how several work in one walk.

A rewrite is one LibCST transformer that makes one kind of change. It looks at the research code as it
was written (`original`), where all facts of the analysis hold, and returns the changed code
(`updated`). All rewrites work in a single walk over the tree, so none sees the others' traces.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import libcst as cst

from bessemer.conversion.analysis import Analysis
from bessemer.conversion.plan import Question, Rewrite, Unconverted
from bessemer.conversion.program import Program
from bessemer.conversion.syntax import code_of

Left = cst.CSTNode | cst.RemovalSentinel | cst.FlattenSentinel[cst.CSTNode]
"""What a rewrite may leave in the place of a node."""
LeftStatement = cst.BaseStatement | cst.RemovalSentinel | cst.FlattenSentinel[cst.BaseStatement]
"""What a rewrite may leave in the place of a statement."""


@dataclass(frozen=True)
class Case:
    """One example of a rewrite: test and manual at once.

    `after` is None where nothing changes; `also` names other rewrites that the example needs.
    """

    why: str
    before: str
    after: str | None
    also: tuple[str, ...] = ()


class Rewriter(cst.CSTTransformer):
    """One kind of change. `kind` is its name in the plan, `TITLE` its headline in the manual."""

    kind: ClassVar[str]
    TITLE: ClassVar[str]

    def __init__(self, analysis: Analysis) -> None:
        super().__init__()
        self.analysis = analysis
        self.program: Program = analysis.script.program
        self.rewrites: list[Rewrite] = []
        self.questions: list[Question] = []
        self.unconverted: list[Unconverted] = []

    def run_uses(self) -> Iterable[cst.CSTNode]:
        """Return the places where the changed code needs the run."""
        return ()

    def note(
        self,
        original: cst.CSTNode,
        after: cst.CSTNode | str,
        reason: str,
        *,
        before: str | None = None,
    ) -> None:
        """Remember a change for the plan; `before` is shown in place of the code of a large node."""
        text = after if isinstance(after, str) else code_of(after)
        before = self.program.code(original) if before is None else before
        self.rewrites.append(
            Rewrite(self.program.where(original), self.kind, _short(before), _short(text), reason)
        )

    def ask(self, node: cst.CSTNode, reason: str, todo: str) -> None:
        """Remember something that a person should decide."""
        self.questions.append(Question(self.program.where(node), reason, todo))

    def leave_out(self, node: cst.CSTNode, reason: str) -> None:
        """Remember code that has no counterpart."""
        code = _short(self.program.code(node))
        self.unconverted.append(Unconverted(self.program.where(node), code, reason))

    def on_run(self, member: str) -> cst.Attribute:
        """Return `run.member`."""
        return cst.Attribute(cst.Name(self.analysis.run), cst.Name(member))

    def call_run(self, member: str, args: Sequence[cst.Arg]) -> cst.Call:
        """Return `run.member(...)`."""
        return cst.Call(self.on_run(member), list(args))


class LoopRewriter(Rewriter):
    """A rewrite that puts something in front of loops."""

    @abstractmethod
    def in_front(self, original: cst.BaseStatement, updated: cst.BaseStatement) -> LeftStatement:
        """Return a loop with what stands in front of it, or the loop alone."""

    def leave_For(self, original_node: cst.For, updated_node: cst.BaseStatement) -> LeftStatement:
        """Put something in front of a `for`."""
        return self.in_front(original_node, updated_node)

    def leave_While(self, original_node: cst.While, updated_node: cst.BaseStatement) -> LeftStatement:
        """Put something in front of a `while`."""
        return self.in_front(original_node, updated_node)

    def put_in_front(
        self, original: cst.BaseStatement, updated: cst.BaseStatement, calls: Sequence[str], reason: str
    ) -> LeftStatement:
        """Return a loop with statements in front of it, and note them."""
        if not calls:
            return updated
        header = self.program.code(original).splitlines()[0]
        self.note(original, "\n".join([*calls, header]), reason, before=header)
        return cst.FlattenSentinel([*(statement(x) for x in calls), updated])


class Together(cst.CSTTransformer):
    """Several rewrites in one walk: each gets what the one before it made of a node."""

    def __init__(self, rewriters: Sequence[Rewriter]) -> None:
        super().__init__()
        self._rewriters = rewriters

    def on_visit(self, node: cst.CSTNode) -> bool:
        """Go everywhere."""
        return True

    def on_leave(self, original_node: cst.CSTNodeT, updated_node: cst.CSTNodeT) -> Left:  # type: ignore[override]
        """Let every rewrite have its say, on the node itself when statements were put around it."""
        current: Left = updated_node
        before: list[cst.CSTNode] = []
        after: list[cst.CSTNode] = []
        for rewriter in self._rewriters:
            if not isinstance(current, cst.CSTNode):
                break
            result: Left = rewriter.on_leave(original_node, current)
            if isinstance(result, cst.FlattenSentinel):
                nodes = list(result.nodes)
                place = next((i for i, node in enumerate(nodes) if node is current), None)
                if place is None:
                    current = result
                    break
                # Later rewrites stand nearer to the statement, on both sides.
                before += nodes[:place]
                after[:0] = nodes[place + 1 :]
            else:
                current = result
        if not before and not after:
            return current
        if isinstance(current, cst.CSTNode):
            return cst.FlattenSentinel([*before, current, *after])
        middle = list(current.nodes) if isinstance(current, cst.FlattenSentinel) else []
        return cst.FlattenSentinel([*before, *middle, *after])


class Substitute(cst.CSTTransformer):
    """Replace nodes of the research code inside an expression that is used a second time."""

    def __init__(self, replaced: dict[cst.CSTNode, cst.BaseExpression]) -> None:
        super().__init__()
        self._replaced = replaced

    def on_leave(self, original_node: cst.CSTNodeT, updated_node: cst.CSTNodeT) -> Left:  # type: ignore[override]
        """Return the replacement of a node that has one."""
        return self._replaced.get(original_node, updated_node)


def statement(code: str) -> cst.BaseStatement:
    """Parse one statement."""
    parsed = cst.parse_statement(code)
    assert isinstance(parsed, cst.BaseStatement)
    return parsed


def plain_args(args: Iterable[cst.Arg]) -> list[cst.Arg]:
    """Return arguments without the line breaks that were around them."""
    return [
        arg.with_changes(
            comma=cst.MaybeSentinel.DEFAULT,
            whitespace_after_arg=cst.SimpleWhitespace(""),
        )
        for arg in args
    ]


def _short(code: str, limit: int = 2000) -> str:
    return code if len(code) <= limit else code[: limit - 3] + "..."
