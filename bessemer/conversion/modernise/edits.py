"""Changes of a text as pieces with what takes their place; every line keeps its number.

What takes the place of a piece is written in parts: texts, and nodes of the program, which stand there with
the changes that were made inside of them.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import libcst as cst

from bessemer.conversion.program import Program

_NEWLINE = re.compile(r"\r\n?|\n")
Span = tuple[int, int]
Part = str | cst.CSTNode | Span


@dataclass(frozen=True, eq=False)
class Edit:
    """A piece of the text, by the places of its first and last character, and what is put there."""

    span: Span
    parts: tuple[Part, ...]


class Text:
    """The text of a program, with the places of its nodes in it (offsets in characters)."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.text = program.module.code
        self._lines = [0, *(x.end() for x in _NEWLINE.finditer(self.text))]

    def span(self, node: cst.CSTNode) -> Span:
        """Return where a node is, without parentheses around it."""
        found = self.program.positions[node]
        return (
            self._lines[found.start.line - 1] + found.start.column,
            self._lines[found.end.line - 1] + found.end.column,
        )

    def whole(self, node: cst.BaseExpression) -> Span:
        """Return where an expression is, with the parentheses that are its own."""
        start, end = self.span(node)
        if node.lpar:
            start = self.span(node.lpar[0])[0]
            end = self.span(node.rpar[-1])[1]
        return start, end

    def code(self, span: Span) -> str:
        """Return a piece of the text as it was."""
        return self.text[span[0] : span[1]]

    def removed(self, call: cst.Call, arg: cst.Arg) -> Edit:
        """Return the edit that takes an argument out of a call, with the comma that goes with it."""
        place = next(i for i, x in enumerate(call.args) if x is arg)
        start, end = self.span(arg)
        if place > 0:
            start = self.span(call.args[place - 1])[1]
        elif len(call.args) > 1:
            end = self.span(call.args[1])[0]
        return Edit((start, end), ())

    def added(self, call: cst.Call, text: str) -> Edit:
        """Return the edit that gives a call one more argument, at its end."""
        if not call.args:
            end = self.span(call)[1] - 1
            return Edit((end, end), (text,))
        end = self.span(call.args[-1])[1]
        return Edit((end, end), (f", {text}",))

    def rendered(self, edits: Sequence[Edit]) -> str:
        """Return the text with edits made, none of which `collide` with another."""
        return self._render((0, len(self.text)), list(edits))

    def shown(self, node: cst.CSTNode, edits: Sequence[Edit]) -> str:
        """Return what the code of a node is after edits, without the lines that were left blank."""
        return self._render(self._of_part(node), edits).rstrip()

    def _render(self, span: Span, edits: Iterable[Edit]) -> str:
        inside = [x for x in edits if span[0] <= x.span[0] and x.span[1] <= span[1]]
        outer = [x for x in inside if not any(x is not y and _contains(y.span, x.span) for y in inside)]
        result, at = [], span[0]
        for edit in sorted(outer, key=lambda x: x.span):
            result += [self.text[at : edit.span[0]], self._replaced(edit, inside)]
            at = edit.span[1]
        return "".join([*result, self.text[at : span[1]]])

    def _replaced(self, edit: Edit, edits: list[Edit]) -> str:
        others = [x for x in edits if x is not edit]
        new = "".join(
            part
            if isinstance(part, str)
            else self._render(part if isinstance(part, tuple) else self._of_part(part), others)
            for part in edit.parts
        )
        missing = _num_lines(self.code(edit.span)) - _num_lines(new)
        if missing <= 0:
            return new
        # The piece is inside of brackets, or is a call, which ends with one.
        return f"{new[:-1]}{chr(10) * missing})" if new.endswith(")") else new + "\n" * missing

    def _of_part(self, node: cst.CSTNode) -> Span:
        return self.whole(node) if isinstance(node, cst.BaseExpression) else self.span(node)


def is_sound(before: str, after: str) -> bool:
    """Tell whether a changed text still compiles, and has as many lines."""
    if _num_lines(before) != _num_lines(after):
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(after, "<modernised>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True


def _num_lines(text: str) -> int:
    return sum(1 for _ in _NEWLINE.finditer(text))


def _contains(outer: Span, inner: Span) -> bool:
    if inner[0] == inner[1]:  # what is put in at an edge stands beside the piece, not in it
        return outer[0] < inner[0] < outer[1]
    return outer[0] <= inner[0] and inner[1] <= outer[1] and outer != inner


def collide(first: Span, second: Span) -> bool:
    """Tell whether two pieces are the same, or overlap without one being inside of the other."""
    if first == second:
        return True
    if first[1] <= second[0] or second[1] <= first[0]:
        return False
    return not (_contains(first, second) or _contains(second, first))
