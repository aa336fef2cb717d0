"""Reads settings from the command line, the environment and a file, and remembers where from.

Precedence: command line, then the research code's own command line (`--research-args`), then
environment, then `settings.toml`, then the defaults in the class.
pydantic-settings parses each source; this module adds what it leaves out: a misspelt variable of
the environment is an error here (pydantic-settings ignores it), every unknown name comes with the
nearest known one, and the origin of each value is kept for `bessemer config`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic_settings import CliSettingsSource, EnvSettingsSource
from pydantic_settings import SettingsError as SourceSyntaxError

from bessemer.config.settings import ENV_DELIMITER, ENV_PREFIX, SECTIONS, Settings
from bessemer.errors import SettingsError, nearest

Origin = Literal["command line", "research arguments", "environment", "file", "default"]
Tree = dict[str, Any]

# Variables with our prefix that are not settings: they steer the command itself.
_NONE = "\x00none"
RESERVED_VARIABLES = frozenset({"BESSEMER_DEBUG"})


@dataclass(frozen=True)
class LoadedSettings:
    """Settings, and for each dotted name the source that decided its value."""

    settings: Settings
    origins: Mapping[str, Origin]
    file: Path | None


def fields_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield (dotted name, field) of every value in a settings class, sections unfolded."""
    for name, field in model.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            yield from fields_of(section, f"{prefix}{name}.")
        else:
            yield prefix + name, field


def _sections(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Return the sections directly in a settings class, or in a section of one."""
    found = {name: field.annotation for name, field in model.model_fields.items()}
    return {name: x for name, x in found.items() if isinstance(x, type) and issubclass(x, BaseModel)}


def value_at(settings: BaseModel, dotted: str) -> Any:
    """Return the value that a dotted name such as `scaling.num_workers` stands for."""
    value: Any = settings
    for part in dotted.split("."):
        value = getattr(value, part)
    return value


def load_settings(
    model: type[Settings],
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    file: Path | None = None,
    research: Mapping[str, Any] | None = None,
) -> LoadedSettings:
    """Build the settings of a run.

    Args:
        model: the project's settings class.
        arguments: what the user typed after the command, such as `["--lr", "0.5"]`.
        environment: variables; those that begin with `BESSEMER_` are settings.
        file: a TOML file, or None for none.
        research: values by name that the research code's own command line gave.

    Raises:
        SettingsError: an unknown name, a value of the wrong type or out of range, a broken file.
    """
    sources: list[tuple[Origin, Tree]] = [
        ("command line", _from_command_line(model, arguments)),
        ("research arguments", dict(research or {})),
        ("environment", _from_environment(model, environment or {})),
        ("file", _from_file(model, file)),
    ]
    merged: Tree = {}
    origins: dict[str, Origin] = {name: "default" for name, _ in fields_of(model)}
    for origin, tree in reversed(sources):
        merged = _merge(merged, tree, model)
        for dotted in origins:
            if _has(tree, dotted):
                origins[dotted] = origin
    return LoadedSettings(_validated(model, merged, origins), origins, file)


def without_required(model: type[Settings]) -> type[Settings]:
    """Return a settings class in which nothing must be given, for whoever asks about the sections alone."""
    required = {name: (Any, None) for name, x in model.model_fields.items() if x.is_required()}
    if not required:
        return model
    made: type[Settings] = create_model(model.__name__, __base__=model, **required)  # type: ignore[call-overload]
    return made


def to_toml(settings: Settings) -> str:
    """Write every value as a `settings.toml` that repeats the run; a value of None is left out."""
    values = settings.model_dump(mode="json", exclude_none=True)
    return "\n".join(_toml_lines(type(settings), values)).lstrip("\n") + "\n"


def _toml_lines(model: type[BaseModel], values: Tree, prefix: str = "") -> Iterator[str]:
    """Yield the lines of a table, then those of each section in it as a table of its own."""
    sections = _sections(model)
    for name, value in values.items():
        if name not in sections:
            yield f"{name} = {_toml_value(value)}"
    for name, section in sections.items():
        yield from ("", f"[{prefix}{name}]")
        yield from _toml_lines(section, values[name], f"{prefix}{name}.")


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _toml_string(value)
    if isinstance(value, list):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    if isinstance(value, dict):
        items = (f"{_toml_string(name)} = {_toml_value(item)}" for name, item in value.items())
        return "{" + ", ".join(items) + "}"
    raise TypeError(f"no TOML form for {value!r}")


def _toml_string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}" for c in escaped) + '"'


def _validated(model: type[Settings], values: Tree, origins: Mapping[str, Origin]) -> Settings:
    try:
        return model(**values)
    except ValidationError as error:
        problems, known, expected = [], dict(fields_of(model)), error.errors()[0]["msg"]
        for problem in error.errors():
            # A union or a choice adds parts of its own to the place; the setting is what is known.
            places = [str(part) for part in problem["loc"]]
            while places and ".".join(places) not in origins:
                places.pop()
            name = ".".join(places) or ".".join(str(part) for part in problem["loc"])
            if problem["type"] == "missing":
                problems.append(f"{name} is required and has no value")
            else:
                origin = origins.get(name, "default")
                # Of a table of tables, such as data.sources, the value inside is what is wrong.
                inner = [str(part) for part in problem["loc"]][len(places) :]
                section = _section_in(known.get(name))
                shown = ".".join([name, *inner[:2]]) if section else name
                if section and problem["type"] == "extra_forbidden":
                    expected = nearest(inner[-1], section.model_fields) or "a setting that there is"
                problems.append(f"{shown} = {problem['input']!r} (from the {origin})")
        raise SettingsError(
            "; ".join(problems),
            expected=expected,
            todo="see `bessemer config` for every setting, its value and its meaning",
        ) from None


def _from_command_line(model: type[Settings], arguments: Sequence[str]) -> Tree:
    known = dict(fields_of(model))
    try:
        source: CliSettingsSource[Any] = CliSettingsSource(
            model,
            cli_parse_args=list(_spelled_out(arguments, known)),
            cli_exit_on_error=False,
            cli_kebab_case=True,
            cli_parse_none_str=_NONE,
        )
        return dict(source())
    except SourceSyntaxError as error:
        raise SettingsError(
            f"the command line cannot be read: {str(error).removeprefix('error parsing CLI: ')}",
            expected="--name value, with names as `bessemer config` shows them",
        ) from None


def _spelled_out(arguments: Sequence[str], known: Mapping[str, FieldInfo]) -> Iterator[str]:
    """Turn bare boolean flags into `--flag true`, `--no-flag` into `--flag false`; refuse others.

    argparse's own pairs of flags do not serve: it takes `--no-cuda` of a field `no_cuda` as false.
    """
    position = 0
    while position < len(arguments):
        argument = arguments[position]
        position += 1
        if not argument.startswith("--"):
            raise SettingsError(f"{argument!r} on the command line", expected="--name value for each setting")
        flag, equals, value = argument.partition("=")
        name = flag.removeprefix("--").replace("-", "_")
        positive = name.removeprefix("no_")
        if name not in known and name != positive and _is_bool(known.get(positive)) and not equals:
            name, equals, value = positive, "=", "false"
        if name not in known and name not in SECTIONS:
            flags = [f"--{other.replace('_', '-')}" for other in known]
            raise SettingsError(
                f"there is no setting {flag}",
                expected=nearest(flag, flags) or "a name that `bessemer config` shows",
            )
        field = known.get(name)
        # Joined, so that a value may begin with a dash.
        joined = f"--{name.replace('_', '-')}="
        if equals:
            yield joined + _none_or(value, field)
            continue
        values = position
        while values < len(arguments) and not arguments[values].startswith("--"):
            values += 1
        if _is_bool(field) and values == position:
            yield joined + "true"
        elif values == position:
            raise SettingsError(f"{flag} has no value", expected=f"{flag} VALUE")
        # A list may be given as `--sizes 1 2 3`; the parser below wants the flag again each time.
        for item in arguments[position:values]:
            yield joined + _none_or(item, field)
        if values - position > 1 and not _is_list(field):
            extra = " ".join(arguments[position + 1 : values])
            raise SettingsError(f"{extra!r} after {flag} {arguments[position]}", expected="one value")
        position = values


def _none_or(value: str, field: FieldInfo | None) -> str:
    """Take `none` and `null` as no value where a setting may have none, and as text elsewhere."""
    optional = field is not None and type(None) in get_args(field.annotation)
    return _NONE if optional and value.lower() in ("none", "null") else value


def _is_bool(field: FieldInfo | None) -> bool:
    return field is not None and (field.annotation is bool or bool in get_args(field.annotation))


def _section_in(field: FieldInfo | None) -> type[BaseModel] | None:
    """Return what a setting is a table or a list of, if that is a section; None of any other setting."""
    inner = get_args(field.annotation)[-1:] if field is not None else ()
    return next((kind for kind in inner if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _is_list(field: FieldInfo | None) -> bool:
    if field is None:
        return False
    kinds = (field.annotation, *get_args(field.annotation))
    return any(getattr(kind, "__origin__", kind) in (list, tuple, set) for kind in kinds)


def _from_environment(model: type[Settings], environment: Mapping[str, str]) -> Tree:
    known = {ENV_PREFIX + name.upper().replace(".", ENV_DELIMITER) for name, _ in fields_of(model)}
    known |= {ENV_PREFIX + section.upper() for section in SECTIONS}
    for variable in environment:
        upper = variable.upper()
        if upper.startswith(ENV_PREFIX) and upper not in known | RESERVED_VARIABLES:
            raise SettingsError(
                f"the environment has {variable}, which is no setting",
                expected=nearest(upper, known) or f"{ENV_PREFIX}<SETTING>, sections with two underscores",
                todo=f"unset {variable}, or correct its name",
            )
    source = EnvSettingsSource(model)
    source.env_vars = {name.lower(): value for name, value in environment.items()}
    try:
        return dict(source())
    except SourceSyntaxError as error:
        raise SettingsError(f"the environment cannot be read: {error}") from None


def _from_file(model: type[Settings], file: Path | None) -> Tree:
    if file is None:
        return {}
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            f"there is no settings file {file}", expected="a TOML file", todo="check --config"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not valid TOML: {error}", expected="name = value") from None
    known = [name for name, _ in fields_of(model)]
    for dotted in _leaves(tree, model):
        if dotted not in known:
            raise SettingsError(
                f"{file} sets {dotted}, which is no setting",
                expected=nearest(dotted, known) or "a name that `bessemer config` shows",
            )
    return tree


def _leaves(tree: Tree, model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, value in tree.items():
        field = model.model_fields.get(name)
        section = field.annotation if field else None
        if isinstance(value, dict) and isinstance(section, type) and issubclass(section, BaseModel):
            yield from _leaves(value, section, f"{prefix}{name}.")
        else:
            yield prefix + name


def _has(tree: Tree, dotted: str) -> bool:
    node: Any = tree
    for part in dotted.split("."):
        if not isinstance(node, dict) or part not in node:
            return False
        node = node[part]
    return True


def _merge(low: Tree, high: Tree, model: type[BaseModel]) -> Tree:
    """Return `low` with the values of `high` put over it, section by section."""
    merged, sections = dict(low), _sections(model)
    for name, value in high.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict) and name in sections
        merged[name] = _merge(merged[name], value, sections[name]) if both else value
    return merged
