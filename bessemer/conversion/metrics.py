"""The metrics that a program prints: which printed value is one, what it is called, how it is logged.

Research code reports by `print`. A printed field is a metric when its value comes from a loss or
from something accumulated over batches; counters, lengths and percentages of progress are not.
Its name is taken from the words in front of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import libcst as cst

from bessemer.conversion.program import Program
from bessemer.conversion.syntax import literal_text

_DROPPED = frozenset(
    {"average", "avg", "total", "mean", "epoch", "the", "of", "on", "set", "running", "current"}
)
COUNTERS = frozenset({"step", "steps", "iter", "iters", "iteration", "iterations", "batch", "epoch"})
"""Words that name a count, which says where training is and not how it goes."""
_PHASES = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "eval": "eval",
    "evaluation": "eval",
    "evaluate": "eval",
    "dev": "dev",
}
_WORD = re.compile(r"[^\W_]+")
_FORMAT_FIELD = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
_PERCENT_FIELD = re.compile(r"%(?:\((\w+)\))?[-+ #0]*(?:\*|\d+)?(?:\.(?:\*|\d+))?[hlL]?([a-zA-Z%])")
# What separates one printed item from the next; the label is what stands after the last one.
_SEPARATORS = re.compile(r"[:,;|\t\n\[\]{}<>=]|\s-+\s|\s{2,}")


@dataclass(frozen=True, eq=False)
class PrintedField:
    """One value in a printed line: the text directly before it, the text after it, the value."""

    before: str
    value: cst.BaseExpression
    after: str = ""


def printed_fields(program: Program, call: cst.Call) -> tuple[PrintedField, ...]:
    """Return the values that a `print` call shows, with the text around each one."""
    fields: list[PrintedField] = []
    text = ""
    for arg in call.args:
        if arg.keyword is not None or arg.star:
            continue
        inner, tail = _fields(program, arg.value)
        if inner:
            first = inner[0]
            fields.append(PrintedField(text + first.before, first.value, first.after))
            fields += inner[1:]
            text = tail + " "
        elif (literal := literal_text(arg.value)) is not None:
            text += literal + " "
        elif not is_template(arg.value):
            fields.append(PrintedField(text, arg.value))
            text = " "
    return _with_following(fields, text)


def is_template(node: cst.BaseExpression) -> bool:
    """Tell whether an expression fills in a literal text, also in a way that is not read here."""
    match node:
        case cst.BinaryOperation(left=template, operator=cst.Modulo()):
            return literal_text(template) is not None
        case cst.Call(func=cst.Attribute(value=template, attr=cst.Name("format"))):
            return literal_text(template) is not None
    return False


def _with_following(fields: Sequence[PrintedField], tail: str) -> tuple[PrintedField, ...]:
    if not fields:
        return ()
    following = [field.before for field in fields[1:]] + [tail]
    pairs = zip(fields, following, strict=True)
    return tuple(PrintedField(field.before, field.value, after) for field, after in pairs)


def _fields(program: Program, node: cst.BaseExpression) -> tuple[list[PrintedField], str]:
    """Return the fields of one formatted string and the text after the last one."""
    match node:
        case cst.FormattedString() | cst.ConcatenatedString():
            return _of_f_string(node)
        case cst.Call(func=cst.Attribute(value=template, attr=cst.Name("format"))):
            return _of_format(literal_text(template), node)
        case cst.BinaryOperation(left=template, operator=cst.Modulo(), right=values):
            return _of_percent(literal_text(template), values)
        case cst.BinaryOperation(operator=cst.Add()):
            left, tail = _fields(program, node.left)
            right, end = _fields(program, node.right)
            if right:
                right[0] = PrintedField(tail + right[0].before, right[0].value)
                return left + right, end
            return left, tail + end
        case cst.Call(func=cst.Name("str")) if program.imported(node.func) == "builtins.str":
            return ([PrintedField("", node.args[0].value)], "") if node.args else ([], "")
    return [], literal_text(node) or ""


def _of_f_string(node: cst.FormattedString | cst.ConcatenatedString) -> tuple[list[PrintedField], str]:
    fields: list[PrintedField] = []
    text = ""
    parts: list[cst.CSTNode] = [node]
    while parts:
        part = parts.pop(0)
        match part:
            case cst.ConcatenatedString():
                parts[:0] = [part.left, part.right]
            case cst.FormattedString():
                parts[:0] = list(part.parts)
            case cst.FormattedStringText():
                text += _plain(part.value)
            case cst.SimpleString():
                text += literal_text(part) or ""
            case cst.FormattedStringExpression():
                fields.append(PrintedField(text, part.expression))
                text = ""
    return fields, text


def _plain(text: str) -> str:
    """Return the text between the fields of an f-string as it is printed."""
    for written, printed in (("\\t", "\t"), ("\\n", "\n"), ("\\r", "\n"), ("{{", "{"), ("}}", "}")):
        text = text.replace(written, printed)
    return text


def _of_format(template: str | None, call: cst.Call) -> tuple[list[PrintedField], str]:
    if template is None or any(arg.star for arg in call.args):
        return [], ""
    values: dict[str, cst.BaseExpression] = {}
    for index, arg in enumerate(call.args):
        values[arg.keyword.value if arg.keyword is not None else str(index)] = arg.value
    fields: list[PrintedField] = []
    text, end, counter = "", 0, 0
    for match in _FORMAT_FIELD.finditer(template):
        text += template[end : match.start()]
        end = match.end()
        if match.group(1) is None:
            text += match.group(0)[0]
            continue
        key = re.split(r"[!:.\[]", match.group(1))[0].strip()
        if not key:
            key, counter = str(counter), counter + 1
        if key not in values:
            return [], ""
        fields.append(PrintedField(text, values[key]))
        text = ""
    return fields, text + template[end:]


def _of_percent(template: str | None, right: cst.BaseExpression) -> tuple[list[PrintedField], str]:
    if template is None:
        return [], ""
    is_tuple = isinstance(right, cst.Tuple)
    values = [x.value for x in right.elements] if isinstance(right, cst.Tuple) else [right]
    fields: list[PrintedField] = []
    text, end = "", 0
    for match in _PERCENT_FIELD.finditer(template):
        text += template[end : match.start()]
        end = match.end()
        if match.group(2) == "%":
            text += "%"
            continue
        if match.group(1) is not None or (len(fields) >= len(values) and is_tuple):
            return [], ""
        if len(fields) >= len(values):
            break
        fields.append(PrintedField(text, values[len(fields)]))
        text = ""
    return fields, text + template[end:]


def label_words(text: str) -> tuple[str, ...]:
    """Return the words that name a value, from the text in front of it, in lower case.

    >>> label_words("Test set: Average loss: ")
    ('average', 'loss')
    """
    rest = text.rstrip().rstrip(":=-([{|>,~ \t")
    last = _SEPARATORS.split(rest)[-1]
    # `(3.2s) loss`: a bracket that was opened before another field ends what belongs to that one.
    while last.count(")") > last.count("("):
        last = last.partition(")")[2]
    words = tuple(word.lower() for word in _WORD.findall(last))
    return words if any(not word.isdigit() for word in words) else ()


def metric_name(words: Sequence[str], phase: str, fallback: str = "value") -> str:
    """Return the name of a metric: the phase, and the words that say what it is.

    >>> metric_name(("average", "loss"), "test")
    'test/loss'
    """
    plain = [word.lower() for word in words]
    kept = [x for x in plain if x not in _DROPPED and x not in _PHASES]
    kept = kept or [x.lower() for x in _WORD.findall(fallback.lower()) if x not in _PHASES]
    name = "_".join(kept).strip("_")
    return f"{phase}/{name or 'value'}"


def phase_in(words: Sequence[str]) -> str | None:
    """Return the phase that the first of these words names.

    >>> phase_in(["validation", "accuracy"])
    'val'
    """
    return next((_PHASES[word.lower()] for word in words if word.lower() in _PHASES), None)


def words_of(text: str) -> tuple[str, ...]:
    """Split a text or an identifier into its words.

    >>> words_of("testEpoch_loss")
    ('test', 'epoch', 'loss')
    """
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", text)
    return tuple(word.lower() for word in _WORD.findall(spaced))


def is_pair(field: PrintedField) -> bool:
    """Tell whether a field and the next one are printed as `count/number`."""
    return field.after.strip() in ("/", "of", "out of")
