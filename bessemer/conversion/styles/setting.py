"""One option that research code has in another style than argparse, and the `add_argument` for it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import libcst as cst

from bessemer.config.literals import literal
from bessemer.conversion.option import Spelling
from bessemer.conversion.syntax import code_of, literal_text

_HEADING = re.compile(r"(?i)^[\W_]*((hyper)?[- ]?param\w*|config\w*|settings?|constants?|options?)?[\W_]*$")
_PLAIN = ("int", "float", "str", "bool")


@dataclass(frozen=True, eq=False)
class Setting:
    """One option.

    Attributes:
        name: what the settings call it.
        kind: `int`, `float`, `str`, `bool`, or an expression that names another type, such as `Path`.
        default: source code of the default; None if it must be given.
        help: what it is for.
        at: where the research code has it.
        code: the research code there.
        spelling: how its own command line has it; None if it has it nowhere.
        choices: source code of the values allowed; empty for any.
        nargs: `+` or `*` for several values, which are a tuple; empty for one.
        notes: what differs from the research code.
    """

    name: str
    kind: str
    default: str | None
    help: str
    at: cst.CSTNode
    code: str
    spelling: Spelling | None = None
    choices: str = ""
    nargs: str = ""
    notes: tuple[str, ...] = ()

    def added(self, parser: str, argparse: str) -> cst.BaseStatement:
        """Return the statement that adds it to a parser.

        Args:
            parser: name of the parser.
            argparse: name of the module argparse.
        """
        given = [repr(f"--{self.name}")]
        if self.kind == "bool":
            given.append(f"action={argparse}.BooleanOptionalAction")
        else:
            given.append(f"type={self.kind}")
        given += [f"nargs={self.nargs!r}"] if self.nargs else []
        given += [f"choices={self.choices}"] if self.choices else []
        given.append("required=True" if self.default is None else f"default={self.default}")
        given.append("help=" + repr(self.help.replace("%", "%%")))
        statement = cst.parse_statement(f"{parser}.add_argument({', '.join(given)})\n")
        assert isinstance(statement, cst.BaseStatement)
        return statement


def kind_of(node: cst.BaseExpression) -> str | None:
    """Return the type of a literal number, text or truth value, or of arithmetic of such numbers."""
    match node:
        case cst.Integer():
            return "int"
        case cst.Float():
            return "float"
        case cst.Name() if node.value in ("True", "False"):
            return "bool"
        case cst.UnaryOperation(operator=cst.Minus()):
            kind = kind_of(node.expression)
            return kind if kind in ("int", "float") else None
        case cst.BinaryOperation():
            try:
                return type(literal(code_of(node))).__name__
            except ValueError:
                return None
        case cst.SimpleString() | cst.ConcatenatedString() if literal_text(node) is not None:
            return "str"
    return None


def many_of(node: cst.BaseExpression) -> str | None:
    """Return the type of the items of a tuple of literals; None if it is none, or they differ."""
    if not isinstance(node, cst.Tuple) or not node.elements:
        return None
    kinds = {kind_of(x.value) for x in node.elements}
    return kinds.pop() if len(kinds) == 1 and "bool" not in kinds else None


def annotated(annotation: cst.BaseExpression | None) -> str | None:
    """Return the plain type that an annotation names, also in `X | None` and `Optional[X]`."""
    match annotation:
        case cst.Name() if annotation.value in (*_PLAIN, "Path"):
            return annotation.value
        case cst.BinaryOperation(operator=cst.BitOr()):
            parts = [x for x in (annotation.left, annotation.right) if not _is_none(x)]
            return annotated(parts[0]) if len(parts) == 1 else None
        case cst.Subscript(value=cst.Name(value="Optional")) if len(annotation.slice) == 1:
            item = annotation.slice[0].slice
            return annotated(item.value) if isinstance(item, cst.Index) else None
    return None


def comment_on(statement: cst.BaseStatement) -> str:
    """Return the comment on a statement's line, or on the line before; empty if it says nothing."""
    lines: Iterable[cst.Comment | None] = ()
    if isinstance(statement, cst.SimpleStatementLine):
        lines = [statement.trailing_whitespace.comment]
        if statement.leading_lines:
            lines = [*lines, statement.leading_lines[-1].comment]
    for comment in lines:
        text = comment.value.strip("# \t") if comment is not None else ""
        if text and not _HEADING.match(text):
            return text
    return ""


def _is_none(node: cst.BaseExpression) -> bool:
    return isinstance(node, cst.Name) and node.value == "None"
