"""The fast way to what a node holds agrees with LibCST's own."""

from __future__ import annotations

from pathlib import Path

import libcst as cst
import pytest
from libcst import metadata

from bessemer.conversion.children import children, is_formatting
from bessemer.conversion.modernise.keywords import without_keywords
from bessemer.conversion.scoping import positions_in, scopes_in
from bessemer.conversion.syntax import walk

ROOT = Path(__file__).parents[2]
EVERYTHING = '''
from __future__ import annotations
from . import (a as b, c)
from d import *
import e.f as g; import h

@decorated(1, *x, key=2, **y)  # a comment
class C(A, metaclass=M):
    """A docstring."""

    field: int = 3

    async def m(self, p, /, q: int = 1, *args: int, k=2, **kwargs) -> str:
        async with a as b, (c) as (d, e):
            async for x in y: await x
        global z
        nonlocal w
        return f"{p!r:>{q}} {k=} {p:.3f}" "joined" f"{x}"

while (n := f()) < 10 and not g[1:2, ..., ::3]:
    try:
        del x[0], y
    except (A, B) as error:
        raise error from None
    except C:
        raise
    else:
        pass
    finally:
        assert x, "message"
else:
    continue
try:
    ...
except* E:
    break
match point:
    case {"a": 1, **rest} | [_, *others] | Point(x=0) if rest:
        yield from (lambda u, *v: -u if u else +v)(*w)
    case (1 | 2) as number:
        yield {i: j for i in k if j}, {i for i in k}, [i async for i in k], (i for i in k)
x = y = {**a, "b": [1, *c], 2: {3, *d}, 4: (5,), 6: 1 if 2 else 3}
x @= y; x: int
with open("f") as f: pass
'''


def _text(path: Path) -> str:
    """Return a file as the converter reads it; one of the cases is older than today's keywords."""
    return without_keywords(path.read_text(encoding="utf-8"))[0]


def test_children_are_those_of_libcst_for_every_kind_of_node() -> None:
    files = [*ROOT.glob("bessemer/**/*.py"), *ROOT.glob("tests/conversion/cases/*/*.py")]
    for text in (EVERYTHING, *map(_text, files[::8])):
        waiting: list[cst.CSTNode] = [cst.parse_module(text)]
        while waiting:
            node = waiting.pop()
            assert [id(x) for x in children(node)] == [id(x) for x in node.children], type(node)
            waiting += children(node)


def test_a_search_for_code_finds_all_of_it() -> None:
    module = cst.parse_module(EVERYTHING)
    waiting: list[cst.CSTNode] = [module]
    for node in waiting:
        waiting += node.children
    for kind in (
        cst.Name,
        cst.Call,
        cst.Arg,
        cst.Param,
        cst.ImportAlias,
        cst.MatchCase,
        cst.From,
        cst.AsName,
    ):
        assert set(walk(module, kind)) == {x for x in waiting if isinstance(x, kind)}, kind


def test_scopes_and_positions_are_those_of_libcst() -> None:
    paths = [*ROOT.glob("tests/conversion/cases/*/*.py"), *ROOT.glob("src/*/*.py")]
    assert len(paths) > 10
    for path in paths:
        wrapper = metadata.MetadataWrapper(cst.parse_module(_text(path)))
        scopes, contexts = scopes_in(wrapper.module)
        assert positions_in(wrapper.module) == wrapper.resolve(metadata.PositionProvider)
        assert contexts == wrapper.resolve(metadata.ExpressionContextProvider)
        theirs = wrapper.resolve(metadata.ScopeProvider)
        assert scopes.keys() == theirs.keys()
        names = [x for x in walk(wrapper.module, cst.Name) if theirs.get(x) is not None]
        for name in names:
            mine, other = scopes[name], theirs[name]
            assert mine is not None
            assert other is not None
            assert {x.name for x in mine.assignments} == {x.name for x in other.assignments}
            assert mine.get_qualified_names_for(name) == other.get_qualified_names_for(name)


def test_the_parser_puts_no_node_in_two_places() -> None:
    for text in (EVERYTHING, *(x.read_text(encoding="utf-8") for x in ROOT.glob("bessemer/conversion/*.py"))):
        waiting: list[cst.CSTNode] = [cst.parse_module(text)]
        for node in waiting:
            waiting += children(node)
        assert len({id(x) for x in waiting}) == len(waiting)


def test_children_come_right_also_if_the_first_node_of_a_class_lacked_some() -> None:
    first, second = (cst.parse_expression(x) for x in ('f"{a}"', 'f"{a:{b}}"'))
    assert [x.value for x in walk(first, cst.Name)] == ["a"]
    assert [x.value for x in walk(second, cst.Name)] == ["a", "b"]


@pytest.mark.parametrize("kind", [cst.Comment, cst.SimpleWhitespace, cst.Comma, cst.CSTNode])
def test_walk_finds_formatting_when_it_is_asked_for(kind: type[cst.CSTNode]) -> None:
    module = cst.parse_module("f(a,  b)  # why\n")
    assert any(isinstance(x, kind) for x in walk(module, kind))


def test_what_can_hold_code_is_no_formatting() -> None:
    module = cst.parse_module(EVERYTHING)
    waiting: list[cst.CSTNode] = [module]
    while waiting:
        node = waiting.pop()
        if is_formatting(type(node)):
            assert not any(isinstance(x, cst.BaseExpression | cst.BaseStatement) for x in children(node))
        waiting += children(node)
