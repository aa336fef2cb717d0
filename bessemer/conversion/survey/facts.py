"""Loops, options and chance in a training program: what the roles leave to say about it."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from bessemer.conversion.survey.effects import SEEDS, iterated
from bessemer.conversion.survey.report import Draw, LoopFound, OptionFound, Random
from bessemer.conversion.survey.roles import Roles
from bessemer.conversion.survey.vocabulary import Role
from bessemer.conversion.syntax import argument, assigned, literal_text, walk

_MAX_SHOWN = 60
_DRAWS = (
    *("random.", "numpy.random.", "torch.rand", "torch.normal", "torch.bernoulli", "torch.multinomial"),
    *("torch.poisson", "torch.nn.Dropout", "torch.nn.functional.dropout", "torchvision.transforms.Random"),
    *("torch.utils.data.RandomSampler", "torch.utils.data.WeightedRandomSampler", "torch.distributions."),
)
_DRAW_METHODS = frozenset({"normal_", "uniform_", "bernoulli_", "random_", "exponential_"})


def loops_in(roles: Roles, files: frozenset[str]) -> tuple[LoopFound, ...]:
    """Return the loops of these files that train, or go over a loader."""
    code, known = roles.code, roles.definitions
    training = {x for x in code.every(cst.For, cst.While) if _trains(roles, x)}
    # What runs inside of a loop that trains, also through calls.
    inside = {
        function
        for loop in training
        for call in walk(loop, cst.Call)
        if (function := roles.origins.function(call)) in known.stepping
    }
    found: list[LoopFound] = []
    for loop in code.every(cst.For, cst.While):
        if code.paths[code.file(loop)] not in files or not isinstance(loop, cst.For | cst.While):
            continue
        over_loader = isinstance(loop, cst.For) and (
            roles.values.of(iterated(known, loop.iter)) is Role.LOADER
        )
        kind = ""
        if loop in training:
            holds = any(x is not loop and x in training for x in walk(loop, cst.For, cst.While))
            called = (roles.origins.function(x) for x in walk(loop, cst.Call))
            holds = holds or any(
                x in known.stepping and any(y in training for y in walk(x, cst.For, cst.While))
                for x in called
                if x is not None
            )
            kind = "batches" if over_loader else "epochs" if holds else "steps"
            if code.around(loop) in inside and kind == "epochs":
                kind = "batches"
        elif over_loader:
            kind = "evaluation"
        if kind:
            held: cst.BaseExpression = loop.iter if isinstance(loop, cst.For) else loop.test
            over = " ".join(code.code(held).split())
            shown = over if len(over) <= _MAX_SHOWN else over[: _MAX_SHOWN - 1] + "…"
            found.append(LoopFound(code.where(loop), kind, shown))
    return tuple(found)


def _trains(roles: Roles, loop: cst.CSTNode) -> bool:
    known = roles.definitions
    return any(known.is_step(x) or roles.origins.function(x) in known.stepping for x in walk(loop, cst.Call))


def options_in(roles: Roles, files: frozenset[str]) -> tuple[OptionFound, ...]:
    """Return what a user can set: of argparse and click, in classes and dictionaries, constants."""
    return tuple(x for y in roles.code.paths if roles.code.paths[y] in files for x in _options(roles, y))


def _options(roles: Roles, file: cst.CSTNode) -> Iterator[OptionFound]:
    code = roles.code
    for call in walk(file, cst.Call):
        is_added = isinstance(call.func, cst.Attribute) and call.func.attr.value == "add_argument"
        by_click = code.imported(call.func) in ("click.option", "click.argument")
        if is_added or by_click:
            yield from _declared(roles, call, "click" if by_click else "argparse")
    for node in walk(file, cst.ClassDef):
        if roles.definitions.of(node) is Role.OPTIONS:
            for line in node.body.body:
                pair = assigned(line)
                for target in pair[0] if pair is not None else ():
                    if pair is not None and isinstance(target, cst.Name):
                        yield OptionFound(target.value, code.code(pair[1]), "", code.where(line), "class")
    for line in getattr(file, "body", ()):
        pair = assigned(line)
        name = pair[0][0] if pair is not None else None
        if pair is None or not isinstance(name, cst.Name) or roles.constant(name) is not Role.OPTIONS:
            continue
        if isinstance(pair[1], cst.Dict):
            for item in pair[1].elements:
                key = literal_text(item.key) if isinstance(item, cst.DictElement) else None
                if key:
                    yield OptionFound(key, code.code(item.value), "", code.where(item), "dictionary")
        elif not isinstance(pair[1], cst.Call):
            yield OptionFound(name.value, code.code(pair[1]), "", code.where(line), "constant")


def _declared(roles: Roles, call: cst.Call, by: str) -> Iterator[OptionFound]:
    flags = [x for y in call.args if y.keyword is None and (x := literal_text(y.value)) is not None]
    long = [x for x in flags if x.startswith("--")] or flags
    if not long:
        return
    default = argument(call, "default")
    action = literal_text(argument(call, "action"))
    text = roles.code.code(default) if default is not None else None
    if text is None and long[0].startswith("-") and argument(call, "required") is None:
        text = {"store_true": "False", "store_false": "True"}.get(action or "", "None")
    help_text = " ".join((literal_text(argument(call, "help")) or "").split())
    name = long[0].lstrip("-").partition("/")[0]
    yield OptionFound(name, text, help_text, roles.code.where(call), by)


def random_in(roles: Roles, files: frozenset[str]) -> Random:
    """Return where seeds are set in these files, and what draws random numbers."""
    code = roles.code
    seeded: list[str] = []
    draws: dict[str, list[str]] = {}
    for call in code.calls():
        if code.paths[code.file(call)] not in files:
            continue
        name = roles.origins.called(call) or ""
        func = call.func
        method = func.attr.value if isinstance(func, cst.Attribute) else ""
        if name in SEEDS:
            seeded.append(code.where(call))
        elif name == "torch.utils.data.DataLoader":
            shuffled = argument(call, "shuffle")
            if shuffled is not None and not (isinstance(shuffled, cst.Name) and shuffled.value == "False"):
                draws.setdefault("DataLoader(shuffle)", []).append(code.where(call))
        elif name.startswith(_DRAWS):
            draws.setdefault(name, []).append(code.where(call))
        elif not name and method in _DRAW_METHODS:
            draws.setdefault(f".{method}()", []).append(code.where(call))
    return Random(
        tuple(seeded), tuple(Draw(x, places[0], len(places)) for x, places in sorted(draws.items()))
    )
