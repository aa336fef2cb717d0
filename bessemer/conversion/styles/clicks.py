"""Options in decorators of click: `@click.command()`, `@click.option(...)`, `@click.argument(...)`."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from bessemer.conversion.option import Spelling
from bessemer.conversion.styles.parameters import only_named, start_with_options
from bessemer.conversion.styles.setting import Setting, kind_of, many_of
from bessemer.conversion.styles.view import View
from bessemer.conversion.syntax import literal_text, parameters, small, walk
from bessemer.errors import ConversionError

_TYPES = {
    "builtins.int": "int",
    "builtins.float": "float",
    "builtins.str": "str",
    "builtins.bool": "bool",
    "click.INT": "int",
    "click.FLOAT": "float",
    "click.STRING": "str",
    "click.BOOL": "bool",
    "click.Path": "str",
    "click.IntRange": "int",
    "click.FloatRange": "float",
}
_READ = frozenset({"default", "type", "help", "is_flag", "required", "multiple", "nargs"})
_SHOWN = frozenset({"show_default", "metavar", "hidden", "show_choices", "show_envvar", "prompt_required"})
_DECORATORS = frozenset({"click.command", "click.option", "click.argument", "click.version_option"})


def find_click(view: View) -> None:
    """Make options of those of the one command of click.

    Raises:
        ConversionError: click is used in a way that settings cannot take over.
    """
    program = view.program
    found = [x for x in walk(program.module, cst.Decorator) if _name(view, x).startswith("click.")]
    if not found:
        return
    function = program.parent(found[0])
    other = next((x for x in found if _name(view, x) not in _DECORATORS), None)
    if other is not None or not isinstance(function, cst.FunctionDef):
        raise view.refuse(other or found[0], f"{_name(view, other or found[0])} is no option", _HINT)
    outside = next((x for x in found if program.parent(x) is not function), None)
    if outside is not None:
        raise view.refuse(outside, "a second command of click", _HINT)
    if len(found) != len(function.decorators):
        raise view.refuse(function, "a decorator beside those of click", _HINT)
    start = _start(view, function)
    settings = {}
    for decorator in found:
        if _name(view, decorator) in ("click.option", "click.argument"):
            name, setting = _Reader(view, decorator).read()
            settings[name] = setting
    unknown = [x.name.value for x in parameters(function) if x.name.value not in settings]
    if unknown or len(settings) != len(parameters(function)):
        raise view.refuse(function, "parameters and options of click that do not agree", _HINT)
    start_with_options(view, function, start, settings)


_HINT = "use one command with @click.option and @click.argument, and plain types and defaults"


def _name(view: View, decorator: cst.Decorator) -> str:
    node = decorator.decorator
    return view.program.imported(node.func if isinstance(node, cst.Call) else node) or ""


def _start(view: View, function: cst.FunctionDef) -> cst.BaseStatement:
    """Return the statement that runs the command."""
    for statement in view.lines():
        inner = small(statement)
        call = inner.value if isinstance(inner, cst.Expr) else None
        if not (isinstance(call, cst.Call) and isinstance(call.func, cst.Name)) or _given(call):
            continue
        if view.function(call.func) is function:
            only_named(view, function, [call.func])
            return statement
    raise view.refuse(function, f"nothing calls {function.name.value}()", "call it under the main guard")


def _given(call: cst.Call) -> bool:
    """Tell whether a command is called with more than how it behaves at its end."""
    return any(
        x.keyword is None or x.keyword.value not in ("standalone_mode", "prog_name") for x in call.args
    )


class _Reader:
    """Reads one `click.option` or `click.argument`."""

    def __init__(self, view: View, decorator: cst.Decorator) -> None:
        self.view = view
        self.decorator = decorator
        self.call = cst.ensure_type(decorator.decorator, cst.Call)
        self.is_argument = _name(view, decorator) == "click.argument"
        self.flags = [literal_text(x.value) for x in self.call.args if x.keyword is None]
        self.given = {x.keyword.value: x.value for x in self.call.args if x.keyword is not None}

    def read(self) -> tuple[str, Setting]:
        """Return the name of the parameter, and the option."""
        if set(self.given) - _READ - _SHOWN or None in self.flags or any(x.star for x in self.call.args):
            raise self._refuse("an option of click with more than type, default, help, is_flag and required")
        flags = [x for x in self.flags if x is not None]
        on, off = self._sides(flags)
        name = self._name(flags)
        default = self.given.get("default")
        is_flag = bool(off) or self._is_true("is_flag")
        choices, base = self._type(default)
        kind = "bool" if is_flag else base
        several = self._several()
        code = self.view.program.code(default) if default is not None else None
        notes = ["is a tuple in the settings"] if several and not isinstance(default, cst.Tuple) else []
        if several and isinstance(default, cst.List):
            items = ", ".join(self.view.program.code(x.value) for x in default.elements)
            code = f"({items},)" if default.elements else "()"
        elif several and code is None:
            code = "()" if "multiple" in self.given else None
        required = self._is_true("required") or (self.is_argument and default is None)
        required = required and not (self.is_argument and self._is_false("required"))
        if code is None and not required:
            code = "False" if is_flag else "None"
        spelling = Spelling(
            tuple(on) if not self.is_argument else (name,),
            self._action(is_flag, bool(off), code),
            "truth" if kind == "bool" else kind,
            self._spelt_nargs(),
            (),
            required,
            tuple(off),
        )
        text = literal_text(self.given.get("help")) or f"option {(on or [name])[0]}"
        setting = Setting(
            name,
            kind,
            None if required else code,
            " ".join(text.split()),
            self.decorator,
            self.view.program.code(self.decorator),
            spelling,
            choices,
            "+" if several else "",
            tuple(notes),
        )
        return name, setting

    def _sides(self, flags: Sequence[str]) -> tuple[list[str], list[str]]:
        """Return the flags that give the option, and those that turn it off."""
        on, off = [], []
        for flag in flags:
            first, slash, second = (x.strip() for x in flag.partition("/"))
            if first.startswith("-"):
                on.append(first)
            if slash and second:
                off.append(second)
        return on, off

    def _name(self, flags: Sequence[str]) -> str:
        plain = [x for x in flags if x.isidentifier()]
        firsts = [x.partition("/")[0].strip() for x in flags]
        long = [x for x in firsts if x.startswith("--")]
        name = (plain or long or firsts)[0].lstrip("-").replace("-", "_")
        return name if plain and not self.is_argument else name.lower()

    def _action(self, is_flag: bool, has_off: bool, default: str | None) -> str:
        if is_flag:
            return "store_false" if default == "True" and not has_off else "store_true"
        return "append" if self._is_true("multiple") else "store"

    def _spelt_nargs(self) -> int | str | None:
        nargs = self.given.get("nargs")
        if nargs is not None:
            count = int(self.view.program.code(nargs))
            return "*" if count < 0 else None if count == 1 else count
        return "?" if self.is_argument and ("default" in self.given or self._is_false("required")) else None

    def _several(self) -> str:
        nargs = self.given.get("nargs")
        if nargs is not None and self.view.program.code(nargs) == "-1":
            return "*"
        if nargs is not None and self.view.program.code(nargs) != "1":
            return "+"
        return "+" if self._is_true("multiple") else ""

    def _type(self, default: cst.BaseExpression | None) -> tuple[str, str]:
        """Return the values allowed and the type."""
        node = self.given.get("type")
        if node is None:
            guessed = None
            if default is not None and not (isinstance(default, cst.Name) and default.value == "None"):
                guessed = kind_of(default) or many_of(default)
                if guessed is None and not isinstance(default, cst.List):
                    raise self._refuse(f"default={self.view.program.code(default)}")
            return "", guessed or "str"
        func = node.func if isinstance(node, cst.Call) else node
        name = self.view.program.imported(func) or ""
        if name == "click.Choice" and isinstance(node, cst.Call) and node.args:
            items = node.args[0].value
            if isinstance(items, cst.List | cst.Tuple) and all(literal_text(x.value) for x in items.elements):
                return self.view.program.code(items), "str"
        if name in _TYPES:
            return "", _TYPES[name]
        raise self._refuse(f"type={self.view.program.code(node)}")

    def _is_true(self, keyword: str) -> bool:
        node = self.given.get(keyword)
        return isinstance(node, cst.Name) and node.value == "True"

    def _is_false(self, keyword: str) -> bool:
        node = self.given.get(keyword)
        return isinstance(node, cst.Name) and node.value == "False"

    def _refuse(self, what: str) -> ConversionError:
        return self.view.refuse(self.decorator, f"{' '.join(what.split())} cannot become a setting", _HINT)
