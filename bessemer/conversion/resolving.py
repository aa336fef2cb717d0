"""What an expression of the research code means where only the settings are known.

Names are replaced by what they were given: constants, variables that are set once, parameters by what is
passed for them. What is left are literals, settings, imported names, and calls that only compute (paths
and text). An expression that needs anything else is not resolved, and the reason is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import libcst as cst

from bessemer.conversion.analysis import Analysis
from bessemer.conversion.kinds import Kind
from bessemer.conversion.syntax import assigned, code_of, parameters

_PURE = ("os.path.", "posixpath.", "pathlib.", "os.getenv", "os.environ.get", "os.getcwd", "os.sep")
_PURE_BUILTINS = frozenset({"str", "int", "float", "len", "list", "tuple", "dict", "sorted", "zip", "range"})
_PURE_METHODS = frozenset(
    {
        "format",
        "join",
        "joinpath",
        "replace",
        "lower",
        "upper",
        "strip",
        "rstrip",
        "lstrip",
        "split",
        "rsplit",
    }
    | {"expanduser", "absolute", "resolve", "with_suffix", "with_name", "as_posix", "items", "keys", "values"}
)
_DEPTH = 12
Given = Mapping[str, cst.BaseExpression]


@dataclass(frozen=True)
class Unresolved(Exception):  # noqa: N818
    """An expression needs something that is not known before the program runs: `needs` names it."""

    needs: str


class Resolver:
    """Resolves expressions of one program.

    Args:
        analysis: the program.
    """

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis
        self._program = analysis.script.program
        self._constants = {x.name: x.statement for x in analysis.script.constants}

    def plain(
        self, node: cst.BaseExpression, given: Given | None = None, depth: int = 0
    ) -> cst.BaseExpression:
        """Return an expression that means the same where only settings and imports are known.

        Args:
            node: of the program.
            given: resolved values of the parameters of the function around it.
            depth: how many names were followed so far (count).

        Raises:
            Unresolved: something is needed that is not known.
        """
        known = given or {}
        if depth > _DEPTH:
            raise Unresolved(code_of(node))

        def inside(part: cst.BaseExpression) -> cst.BaseExpression:
            return self.plain(part, known, depth + 1)

        match node:
            case cst.SimpleString() | cst.ConcatenatedString() | cst.Integer() | cst.Float():
                return node
            case cst.FormattedString():
                return _text(node, [self._text_part(x, known, depth) for x in node.parts])
            case cst.Name():
                return self._name(node, known, depth)
            case cst.Attribute():
                return self._attribute(node, known, depth)
            case cst.BinaryOperation():
                return node.with_changes(left=inside(node.left), right=inside(node.right))
            case cst.UnaryOperation():
                return node.with_changes(expression=inside(node.expression))
            case cst.Tuple() | cst.List():
                return node.with_changes(
                    elements=[x.with_changes(value=inside(x.value)) for x in node.elements]
                )
            case cst.Dict() if all(isinstance(x, cst.DictElement) for x in node.elements):
                pairs = [x for x in node.elements if isinstance(x, cst.DictElement)]
                return node.with_changes(
                    elements=[x.with_changes(key=inside(x.key), value=inside(x.value)) for x in pairs]
                )
            case cst.Subscript():
                parts = [x for x in node.slice if isinstance(x.slice, cst.Index)]
                if len(parts) != len(node.slice):
                    raise Unresolved(code_of(node))
                changed = [
                    x.with_changes(slice=cst.Index(inside(cst.ensure_type(x.slice, cst.Index).value)))
                    for x in parts
                ]
                return node.with_changes(value=inside(node.value), slice=changed)
            case cst.Call():
                return self._call(node, known, depth)
        raise Unresolved(code_of(node))

    def _text_part(
        self, part: cst.BaseFormattedStringContent, given: Given, depth: int
    ) -> cst.BaseFormattedStringContent:
        if not isinstance(part, cst.FormattedStringExpression):
            return part
        value = self.plain(part.expression, given, depth + 1)
        if isinstance(value, cst.SimpleString):
            return _inlined(value, part)
        if any(quote in code_of(value) for quote in "'\""):
            raise Unresolved(code_of(part.expression))  # quotes in quotes are for newer Pythons only
        return part.with_changes(expression=value)

    def _name(self, node: cst.Name, given: Given, depth: int) -> cst.BaseExpression:
        if node.value in ("True", "False", "None"):
            return node
        if self._analysis.kinds.is_a(node, Kind.SETTINGS):
            return cst.Name(self._analysis.settings)
        if self._program.imported(node) is not None:
            return node
        function = self._program.function(node)
        bound = self._program.bindings(node)
        if node.value in given and len(bound) <= 1:
            return given[node.value]
        if function is not None and self._program.is_parameter(node.value, function):
            raise Unresolved(node.value)
        if len(bound) != 1 or not isinstance(bound[0], cst.Name):
            raise Unresolved(node.value)
        pair = assigned(self._program.statement(bound[0]))
        if pair is None or len(pair[0]) != 1 or pair[0][0] is not bound[0]:
            raise Unresolved(node.value)
        return _bracketed(self.plain(pair[1], given, depth + 1))

    def _attribute(self, node: cst.Attribute, given: Given, depth: int) -> cst.BaseExpression:
        if self._program.imported(node) is not None:
            return node
        if self._analysis.kinds.is_a(node.value, Kind.SETTINGS):
            renamed = self._analysis.script.options.renamed
            name = renamed.get(node.attr.value, node.attr.value)
            return cst.Attribute(cst.Name(self._analysis.settings), cst.Name(name))
        try:
            return node.with_changes(value=self.plain(node.value, given, depth + 1))
        except Unresolved:
            raise Unresolved(code_of(node)) from None

    def _call(self, node: cst.Call, given: Given, depth: int) -> cst.BaseExpression:
        name = self._program.imported(node.func) or ""
        is_pure = name.startswith(_PURE) or name.removeprefix("builtins.") in _PURE_BUILTINS
        func: cst.BaseExpression = node.func
        if not is_pure:
            is_method = isinstance(node.func, cst.Attribute) and node.func.attr.value in _PURE_METHODS
            if not is_method or name:
                raise Unresolved(code_of(node))
            func = self._attribute(cst.ensure_type(node.func, cst.Attribute), given, depth)
        args = [x.with_changes(value=self.plain(x.value, given, depth + 1)) for x in node.args]
        return node.with_changes(func=func, args=args)

    def turns(self, loop: cst.For, given: Given) -> list[dict[str, cst.BaseExpression]]:
        """Return what a loop variable is in each turn of a loop over something that is written out.

        Args:
            loop: any loop.
            given: resolved values of names around it.

        Returns:
            One mapping of names for each turn; a single empty one if nothing is known.
        """
        try:
            items = _items(self.plain(loop.iter, given))
        except Unresolved:
            return [{}]
        target = loop.target
        if isinstance(target, cst.Name):
            return [{target.value: x} for x in items] or [{}]
        if not isinstance(target, cst.Tuple | cst.List):
            return [{}]
        names = [x.value.value for x in target.elements if isinstance(x.value, cst.Name)]
        rows = [x.elements for x in items if isinstance(x, cst.Tuple | cst.List)]
        if len(names) != len(target.elements) or len(rows) != len(items):
            return [{}]
        if any(len(row) != len(names) for row in rows):
            return [{}]
        return [dict(zip(names, (x.value for x in row), strict=True)) for row in rows] or [{}]

    def passed(
        self, function: cst.FunctionDef, call: cst.Call, given: Given
    ) -> dict[str, cst.BaseExpression]:
        """Return what a call hands to the parameters of a function, as far as it can be resolved.

        Args:
            function: one at module level, or `__init__` of a class.
            call: of it, or of the class.
            given: resolved values of the parameters of the function around the call.
        """
        own = list(parameters(function))
        is_method = self._program.definition(function) is not function
        names = [x.name.value for x in own][1 if is_method else 0 :]
        values = {x.name.value: x.default for x in own if x.default is not None}
        for index, arg in enumerate(call.args):
            if arg.star:
                break
            if arg.keyword is not None:
                values[arg.keyword.value] = arg.value
            elif index < len(names):
                values[names[index]] = arg.value
        found: dict[str, cst.BaseExpression] = {}
        for name, value in values.items():
            try:
                found[name] = self.plain(value, given)
            except Unresolved:
                continue
        return found


def _inlined(value: cst.SimpleString, part: cst.FormattedStringExpression) -> cst.BaseFormattedStringContent:
    """Put text that is known into the text around it."""
    text = value.evaluated_value
    if (
        part.format_spec
        or part.conversion
        or not isinstance(text, str)
        or any(x in text for x in "{}\\\n'\"")
    ):
        raise Unresolved(code_of(value))
    return cst.FormattedStringText(text)


def _text(
    node: cst.FormattedString, parts: list[cst.BaseFormattedStringContent]
) -> cst.FormattedString | cst.SimpleString:
    """Return a formatted string, or a plain one if nothing in it needs to be computed any more."""
    texts = [x.value for x in parts if isinstance(x, cst.FormattedStringText)]
    if len(texts) == len(parts) and node.start.lower() in ('f"', "f'"):
        return cst.SimpleString(f"{node.start[1:]}{''.join(texts)}{node.end}")
    return node.with_changes(parts=parts)


def _items(node: cst.BaseExpression) -> list[cst.BaseExpression]:
    """Return the items of a list, a tuple, or of what `.items()` of a dictionary gives."""
    if isinstance(node, cst.Tuple | cst.List):
        return [x.value for x in node.elements]
    if isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute) and not node.args:
        table, method = node.func.value, node.func.attr.value
        if isinstance(table, cst.Dict):
            pairs = [x for x in table.elements if isinstance(x, cst.DictElement)]
            if method == "items":
                return [cst.Tuple([cst.Element(x.key), cst.Element(x.value)]) for x in pairs]
            return [x.key if method == "keys" else x.value for x in pairs]
    raise Unresolved(code_of(node))


def _bracketed(value: cst.BaseExpression) -> cst.BaseExpression:
    if isinstance(value, cst.BinaryOperation | cst.UnaryOperation) and not value.lpar:
        return value.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    return value
