"""Liveness: what a loop carries, and what is read after it."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent, indent

import libcst as cst
import pytest

from bessemer.conversion.analysis import Analysis
from bessemer.conversion.flow import Flow
from bessemer.conversion.syntax import walk

LOOPS = {
    "a variable of a comprehension is another one": (
        """
        ys = [x for x in xs]
        for i in xs:
            x = i
            use([x for x in xs if x])
        use([x for x in xs])
        """,
        set(),
        set(),
    ),
    "a sum": (
        """
        total = 0
        for x in xs:
            total += x
        print(total)
        """,
        {"total"},
        {"total"},
    ),
    "set before it is read": (
        """
        for x in xs:
            y = x
            use(y)
        """,
        set(),
        set(),
    ),
    "set in one branch only": (
        """
        y = 0
        for x in xs:
            if x:
                y = x
            use(y)
        """,
        {"y"},
        set(),
    ),
    "set in both branches": (
        """
        for x in xs:
            if x:
                y = 1
            else:
                y = 2
            use(y)
        """,
        set(),
        set(),
    ),
    "the other branch leaves": (
        """
        for x in xs:
            if x:
                y = 1
            else:
                continue
            use(y)
        """,
        set(),
        set(),
    ),
    "read after the loop, set again first": (
        """
        for x in xs:
            y = x
        y = 3
        print(y)
        """,
        set(),
        set(),
    ),
    "read in the next turn of a loop around": (
        """
        y = 0
        while True:
            use(y)
            for x in xs:
                y = x
        """,
        set(),
        {"y"},
    ),
    "read by a nested function": (
        """
        y = 0
        for x in xs:
            def show():
                print(y)
            show()
            y = x
        """,
        {"y"},
        set(),
    ),
    "set under a with, read behind it": (
        """
        with torch.no_grad():
            for x in xs:
                y = x
        print(y)
        """,
        set(),
        {"y"},
    ),
    "read in a handler": (
        """
        y = 0
        try:
            for x in xs:
                y = x
        except ValueError:
            print(y)
        """,
        set(),
        {"y"},
    ),
    "read in an else of a condition around": (
        """
        if xs:
            for x in xs:
                y = x
        else:
            y = 1
        print(y)
        """,
        set(),
        {"y"},
    ),
    "read behind an elif": (
        """
        if a:
            y = 1
        elif b:
            for x in xs:
                y = x
        print(y)
        """,
        set(),
        {"y"},
    ),
}


@pytest.mark.parametrize("name", LOOPS)
def test_what_a_loop_carries_and_leaves_behind(name: str, analyzed: Callable[[str], Analysis]) -> None:
    code, carried, after = LOOPS[name]
    program = analyzed("def main(xs, a, b):\n" + indent(dedent(code), "    ")).script.program
    function = next(walk(program.module, cst.FunctionDef))
    loop = next(walk(function, cst.For))
    flow = Flow(program, function)
    assert flow.carried(loop) == carried
    assert flow.live_after(loop) & flow.stored(loop.body) == after
