"""Compose `config/settings.py`: the options of the research code as a typed settings class."""

from __future__ import annotations

import keyword

import libcst as cst

from bessemer.conversion.option import Option
from bessemer.conversion.script import Script
from bessemer.conversion.syntax import bound_name, code_of, walk


def compose_settings(script: Script) -> str:
    """Return the source of the settings module of a project."""
    options = script.options.options
    about = " ".join(script.options.description.split())
    docstring = _quoted(about if about.endswith((".", "!", "?")) or not about else f"{about}.")
    body: list[str] = []
    if not options:
        body.append('    """The research code has no options; Bessemer\'s own are inherited."""')
    else:
        body.append(f"    {docstring or _quoted('The options of the research code.')}\n")
        body += [f"    {field_line(option)}" for option in options]
    text = "\n".join(
        [
            '"""Settings: the options of the research code, with their types, defaults and help."""\n',
            "from __future__ import annotations\n",
            *_imports(script, options),
            "\n\nclass Settings(bessemer.Settings):",
            *body,
        ]
    )
    return cst.parse_module(text + "\n").code


def _imports(script: Script, options: tuple[Option, ...]) -> list[str]:
    annotations = " ".join(option.annotation for option in options)
    lines = ["from pathlib import Path"] if "Path" in annotations else []
    typing = ["Literal"] if "Literal[" in annotations else []
    typing += ["cast"] if any(option.default_is_call for option in options) else []
    lines += [f"from typing import {', '.join(typing)}"] if typing else []
    lines += ["import bessemer"]
    lines += ["from pydantic import Field"] if options else []
    computed = [option.default for option in options if option.default_is_call]
    read = {name.value for x in computed if x for name in walk(cst.parse_expression(x), cst.Name)}
    for statement in script.imports:
        for node in walk(statement, cst.Import, cst.ImportFrom):
            if not isinstance(node.names, cst.ImportStar):
                bound = {bound_name(alias) for alias in node.names}
                if bound & read:
                    lines.append(code_of(node))
    return lines


def field_line(option: Option) -> str:
    """Return the line of the settings class that stands for an option."""
    description = f"description={_quoted(option.description, plain=True)}"
    default = option.default
    if default is None:
        given = description
    elif option.default_is_call:
        # Nothing is known of its type but what the option says.
        given = f'default_factory=lambda: cast("{option.annotation}", {default}), {description}'
    else:
        given = f"{default}, {description}"
    assert not keyword.iskeyword(option.field)
    return f"{option.field}: {option.annotation} = Field({given})"


def _quoted(text: str, *, plain: bool = False) -> str:
    if not text:
        return ""
    if plain:
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    escaped = text.replace("\\", "\\\\").replace('"""', "'''")
    return f'"""{escaped}"""' if not escaped.endswith('"') else f'"""{escaped} """'
