"""What the papers of a project (README, CONVERSION.md) say, and how its templates are filled."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

import jinja2

from bessemer.config.literals import literal
from bessemer.conversion.option import Option
from bessemer.conversion.plan import Left, Rewrite
from bessemer.errors import ConversionError

_MOST_LINES = 12


@dataclass(frozen=True)
class Changed:
    """Rewrites of one place that say the same but for what they name, as CONVERSION.md shows them."""

    where: str
    kind: str
    before: str
    after: str
    reason: str


def changes(rewrites: Sequence[Rewrite]) -> list[Changed]:
    """Put rewrites of one place together, and shorten code of many lines."""
    groups: dict[tuple[str, str, str, str], list[str]] = {}
    for rewrite in rewrites:
        key = (rewrite.where, rewrite.kind, rewrite.before, rewrite.after)
        groups.setdefault(key, []).append(rewrite.reason)
    return [
        Changed(where, kind, _shortened(before), _shortened(after), _joined(reasons))
        for (where, kind, before, after), reasons in groups.items()
    ]


def _joined(reasons: Sequence[str]) -> str:
    """Join reasons; those that differ after their colon only are said once.

    >>> _joined(["kept: x", "kept: y"])
    'kept: x, y'
    """
    heads = {reason.partition(": ")[0] for reason in reasons}
    if len(heads) == 1 and all(": " in reason for reason in reasons):
        return f"{heads.pop()}: {', '.join(dict.fromkeys(x.partition(': ')[2] for x in reasons))}"
    return "; ".join(dict.fromkeys(reasons))


def _shortened(code: str) -> str:
    lines = code.splitlines()
    if len(lines) <= _MOST_LINES:
        return code
    return "\n".join([*lines[:3], f"... ({len(lines) - 4} lines)", lines[-1]])


def setting_rows(options: Sequence[Option]) -> list[dict[str, object]]:
    """Return what README and `settings.toml` say of each option."""
    return [
        {
            "name": option.name,
            "field": option.field,
            "flag": f"--{option.field.replace('_', '-')}",
            "annotation": option.annotation,
            "description": option.description,
            "where": option.where,
            "notes": option.notes,
            "shown": _toml(option.default),
            "default_shown": "must be given" if option.default is None else option.default,
        }
        for option in options
    ]


def example_of(options: Sequence[Option]) -> str:
    """Return a setting as one gives it on the command line, or "" if there is none to show."""
    for option in options:
        if option.annotation in ("int", "float") and option.default and not option.default_is_call:
            return f"--{option.field.replace('_', '-')} {option.default}"
    return ""


def left_rows(left: Sequence[Left]) -> list[dict[str, object]]:
    """Return what CONVERSION.md says of files that are no part of the program."""
    trains = "the entry point does not use it; it trains itself: `bessemer convert --entry` of its name"
    return [
        {"path": x.path, "about": trains if x.trains else "the entry point does not use it"} for x in left
    ]


def render(template: str, values: Mapping[str, object]) -> str:
    """Fill a template.

    Raises:
        ConversionError: it is not there.
    """
    environment = jinja2.Environment(  # nosec B701  # Markdown, TOML, Python; no HTML
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    environment.filters |= {
        "toml": lambda text: json.dumps(text, ensure_ascii=False),
        "lines": lambda text, mark: "\n".join(f"{mark}{line}" for line in text.splitlines()),
        "first_line": lambda text: (text.splitlines() or [""])[0],
        "sentence": lambda text: f"{text[:1].upper()}{text[1:].rstrip('.')}.",
        "cell": _cell,
        "code_cell": lambda text: f"`{_cell(text)}`" if "`" not in text else f"`` {_cell(text)} ``",
    }
    try:
        text = (
            resources.files("bessemer.conversion.writing").joinpath("templates", template).read_text("utf-8")
        )
    except FileNotFoundError as error:
        raise ConversionError(
            f"the template {template} is missing",
            "a complete installation of Bessemer",
            'pip install --force-reinstall "bessemer[convert]"',
        ) from error
    return environment.from_string(text).render(values)


def _cell(text: object) -> str:
    """Return a text as it may stand in a cell of a table."""
    return " ".join(str(text).split()).replace("|", "\\|")


def _toml(default: str | None) -> str:
    """Show a default as TOML; what has no TOML is shown as it is in Python."""
    if default is None:
        return "... # must be given"
    if default in ("True", "False"):
        return default.lower()
    if default == "None":
        return "... # not set"
    if re.fullmatch(r"'[^'\\]*'", default):
        return f'"{default[1:-1]}"'
    if default.startswith("("):
        return f"[{default[1:-1].rstrip(', ')}]"
    try:
        # TOML has no `1.` and no `.5`.
        value = literal(default)
    except ValueError:
        value = None
    return repr(value) if isinstance(value, int | float) else default.replace("\n", " ")
