"""One option of a command line: from an `add_argument` call to what a typed settings field needs."""

from __future__ import annotations

import ast
import keyword
from dataclasses import dataclass

import libcst as cst
from pydantic_settings import BaseSettings

from bessemer.config.settings import SECTIONS
from bessemer.conversion.program import Program
from bessemer.conversion.syntax import assigned, literal_text, walk
from bessemer.errors import ConversionError

_BOOLEAN_ACTION = "argparse.BooleanOptionalAction"
_TYPES = {
    "builtins.int": "int",
    "builtins.float": "float",
    "builtins.str": "str",
    "builtins.bool": "bool",
    "pathlib.Path": "Path",
}


@dataclass(frozen=True)
class Spelling:
    """How the option was typed on the command line of the research code; `--research-args` reads it so.

    Attributes:
        flags: such as `--lr` and `-l`, or the name of a positional argument.
        action: of argparse; `boolean` stands for `BooleanOptionalAction`, `switch` for a truth value that
            may be left out.
        type: what argparse called on the text: int, float, str, bool or Path; "" where the settings read it.
        nargs: of argparse.
        choices: the values allowed, as argparse compares them; empty for any.
        required: whether argparse insists on it.
        off: flags that turn it off.
        position: at which place it may also stand without its flag, from 0; None if it may not.
        in_files: whether a Python file on the command line may assign it.
    """

    flags: tuple[str, ...]
    action: str
    type: str
    nargs: int | str | None
    choices: tuple[int | float | str, ...]
    required: bool
    off: tuple[str, ...] = ()
    position: int | None = None
    in_files: bool = False


@dataclass(frozen=True)
class Option:
    """One option. `default` is source code, or None for an option that must be given.

    `spelling` is None for what the research code's command line does not have, such as a constant.
    """

    name: str
    field: str
    annotation: str
    default: str | None
    default_is_call: bool
    description: str
    where: str
    notes: tuple[str, ...] = ()
    spelling: Spelling | None = None


class OptionReader:
    """Turns one `add_argument` call into an `Option`."""

    def __init__(
        self,
        program: Program,
        call: cst.Call,
        flags: list[str],
        given: dict[str, cst.BaseExpression],
        where: str,
    ) -> None:
        self.program = program
        self.call = call
        self.flags = flags
        self.given = {name: self._resolved(node) for name, node in given.items()}
        self.where = where
        self.notes: list[str] = []

    def read(self) -> Option | None:
        """Return the option, or None if it only shows help or a version."""
        action = self._action()
        if action in ("help", "version"):
            return None
        name = self._name()
        field = settings_name(name)
        if field != name:
            self.notes.append(f"{name} is taken in the settings; the option is called {field} there")
        required = self._required()
        annotation, default = self._typed(action)
        if required:
            annotation = annotation.removesuffix(" | None")
        node = self.given.get("default")
        is_call = default is not None and node is not None and not _is_literal(node)
        if is_call:
            default = self._computed_default(node)
        description = literal_text(self.given.get("help")) or f"option {self._flag()}"
        description = " ".join(description.replace("%%", "%").split())
        description = description.replace("%(default)s", default or "none")
        return Option(
            name,
            field,
            annotation,
            None if required else default,
            is_call,
            description,
            self.where,
            tuple(self.notes),
            self._spelling(action, required),
        )

    def _resolved(self, node: cst.BaseExpression) -> cst.BaseExpression:
        """Return the literal that a name of the module stands for, or the expression as it is."""
        found = self.program.bindings(node) if isinstance(node, cst.Name) else ()
        if (
            len(found) != 1
            or not isinstance(found[0], cst.Name)
            or self.program.function(found[0]) is not None
        ):
            return node
        pair = assigned(self.program.statement(found[0]))
        return pair[1] if pair is not None and pair[0] == (found[0],) and _is_literal(pair[1]) else node

    def _spelling(self, action: str, required: bool) -> Spelling:
        given, code = self.given, self.program.code
        if "action" in given and self.program.imported(given["action"]) == _BOOLEAN_ACTION:
            action = "boolean"
        if "const" in given:
            action = "switch"
        plain = "type" not in given and _type_of_literal(given.get("default")) in (None, "str")
        kind = "str" if plain else ""
        if "type" in given:
            kind = _TYPES.get(self.program.imported(given["type"]) or "", "")
        nargs: int | str | None = None
        choices: tuple[int | float | str, ...] = ()
        if "nargs" in given and _is_literal(given["nargs"]):
            nargs = ast.literal_eval(code(given["nargs"]))
        if "choices" in given and _is_literal(given["choices"]):
            choices = tuple(ast.literal_eval(code(given["choices"])))
        if not kind and not all(isinstance(choice, str) for choice in choices):
            choices = ()
        return Spelling(tuple(self.flags), action, kind, nargs, choices, required)

    def _flag(self) -> str:
        long = [flag for flag in self.flags if flag.startswith("--")]
        return (long or self.flags)[0]

    def _name(self) -> str:
        dest = literal_text(self.given.get("dest"))
        name = dest or self._flag().lstrip("-").replace("-", "_")
        if not name.isidentifier() or keyword.iskeyword(name):
            raise self._refuse(f"the option name {name!r}, which is no Python name")
        return name

    def _required(self) -> bool:
        positional = not self.flags[0].startswith("-")
        if positional:
            self.notes.append(f"was a positional argument; give it as --{self.flags[0]}")
            return "default" not in self.given
        required = self.given.get("required")
        return isinstance(required, cst.Name) and required.value == "True"

    def _action(self) -> str:
        node = self.given.get("action")
        if node is None:
            return "store"
        if self.program.imported(node) == _BOOLEAN_ACTION:
            return "store_true"
        action = literal_text(node)
        if action not in ("store", "store_true", "store_false", "append", "help", "version"):
            raise self._refuse(f"action={self.program.code(node)}")
        return action

    def _typed(self, action: str) -> tuple[str, str | None]:
        node = self.given.get("default")
        default = self.program.code(node) if node is not None else None
        if action == "store_false":
            self.notes.append(f"{self._flag()} made it False")
        if action in ("store_true", "store_false"):
            value = default or str(action == "store_false")
            return ("bool | None" if value == "None" else "bool"), value
        base = self._choices() or self._base_type(node)
        nargs = self.given.get("nargs")
        is_many = nargs is not None and literal_text(nargs) != "?"
        if is_many or action == "append":
            base = f"tuple[{base}, ...]"
            self.notes.append("is a tuple in the settings, where argparse made a list")
            if isinstance(node, cst.List):
                default = self.program.code(cst.Tuple([element.with_changes() for element in node.elements]))
                if len(node.elements) == 1 and not default.endswith(",)"):
                    default = default[:-1] + ",)"
            if literal_text(nargs) == "*" and default is None:
                default = "()"
        if "const" in self.given and not self._is_switch(base):
            raise self._refuse("const=, a value for an option that is given without one")
        if default is None or default == "None":
            return f"{base} | None", "None"
        return base, default

    def _is_switch(self, base: str) -> bool:
        """Tell whether an option without a value means True: `nargs="?", const=True`, and a type."""
        given = self.given
        is_true = self.program.code(given["const"]) == "True"
        return is_true and base == "bool" and literal_text(given.get("nargs")) == "?" and "type" in given

    def _choices(self) -> str | None:
        node = self.given.get("choices")
        if node is None:
            return None
        items = node.elements if isinstance(node, cst.List | cst.Tuple | cst.Set) else ()
        if not items or not all(_is_literal(item.value) for item in items):
            self.notes.append(f"choices={self.program.code(node)} are not checked by the settings")
            return None
        if any(isinstance(item.value, cst.Float) for item in items):
            self.notes.append("choices that are fractions are not checked by the settings")
            return None
        return f"Literal[{', '.join(self.program.code(item.value) for item in items)}]"

    def _base_type(self, default: cst.BaseExpression | None) -> str:
        node = self.given.get("type")
        guessed = _type_of_literal(default)
        if node is None:
            # Without a type argparse gives text, except when the default is used as it is.
            if guessed not in (None, "str") and default is not None:
                self.notes.append("has no type=; the type of its default is used")
            return guessed or "str"
        known = _TYPES.get(self.program.imported(node) or "")
        if known == "bool":
            self.notes.append(
                "type=bool means True for any text that is not empty, also for 'False'; "
                "in the settings false means False"
            )
        if known is not None:
            is_whole_float = known == "int" and guessed == "float"
            return "float" if is_whole_float else known
        if guessed is None:
            raise self._refuse(f"type={self.program.code(node)} of an option without a default")
        self.notes.append(f"type={self.program.code(node)} is not called; the settings read {guessed}")
        return guessed

    def _computed_default(self, node: cst.BaseExpression | None) -> str:
        assert node is not None
        for name in walk(node, cst.Name):
            if self.program.is_load(name) and self.program.imported(name) is None:
                raise self._refuse(f"default={self.program.code(node)}")
        return self.program.code(node)

    def _refuse(self, what: str) -> ConversionError:
        return ConversionError(
            f"{self.where}: {what} cannot be turned into a typed setting",
            "an option with a plain type, a literal default and a plain action",
            "write the option with type=int, float or str and a literal default",
        )


def settings_name(name: str) -> str:
    """Return the name of the settings field for an option, which may not hide one of Bessemer's."""
    taken = name in SECTIONS or hasattr(BaseSettings, name)
    return f"{name.lstrip('_')}_arg" if taken or name.startswith("_") else name


def _is_literal(node: cst.BaseExpression) -> bool:
    match node:
        case cst.Name():
            return node.value in ("True", "False", "None")
        case cst.UnaryOperation():
            return _is_literal(node.expression)
        case cst.BinaryOperation():
            return _is_literal(node.left) and _is_literal(node.right)
        case cst.Tuple() | cst.List():
            return all(_is_literal(element.value) for element in node.elements)
    return isinstance(node, cst.BaseNumber | cst.SimpleString | cst.ConcatenatedString)


def _type_of_literal(node: cst.BaseExpression | None) -> str | None:
    match node:
        case cst.Integer():
            return "int"
        case cst.Float():
            return "float"
        case cst.SimpleString() | cst.ConcatenatedString():
            return "str"
        case cst.Name() if node.value in ("True", "False"):
            return "bool"
        case cst.UnaryOperation():
            return _type_of_literal(node.expression)
        case cst.BinaryOperation():
            kinds = {_type_of_literal(node.left), _type_of_literal(node.right)}
            return "float" if kinds == {"int", "float"} else next(iter(kinds))
        case cst.List() | cst.Tuple() if node.elements:
            return _type_of_literal(node.elements[0].value)
    return None
