"""What a loop goes on with and no checkpoint can have: environments, open files, sockets, cursors.

A restart makes them anew and cannot bring them to where they were, so the program is promised less. Random
generators of a program's own are found here too: their state could be saved, but nobody does.
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from bessemer.conversion.checks.base import Case, Finding, Reading
from bessemer.conversion.syntax import walk

RULE = "unsaveable"
_ENVIRONMENTS = (
    "gym.",
    "gymnasium.",
    "pettingzoo.",
    "stable_baselines3.common.env_util.",
    "procgen.",
    "dm_control.",
)
_OPENED = {
    "builtins.open": "an open file",
    "gzip.open": "an open file",
    "h5py.File": "an open file",
    "socket.socket": "a socket",
    "socket.create_connection": "a socket",
    "sqlite3.connect": "a data base connection",
    "subprocess.Popen": "another process",
}
_GENERATORS = {
    "numpy.random.default_rng": "np.random",
    "numpy.random.RandomState": "np.random",
    "numpy.random.Generator": "np.random",
    "random.Random": "random",
    "torch.Generator": "torch's own generator",
}


def find(reading: Reading) -> Iterator[Finding]:
    """Find what is made outside of hooked loops and used inside, and cannot be brought back."""
    told: set[tuple[cst.CSTNode, str]] = set()
    for loop in reading.loops.all:
        for node in walk(loop.node.body, cst.Name, cst.Attribute):
            if not reading.code.is_load(node):
                continue
            for origin in reading.origins.of(node):
                kind = _kind(reading, origin)
                if kind is None or any(reading.loops.is_hooked(x) for x in reading.code.ancestors(origin)):
                    continue
                name = reading.code.code(node)
                if (origin, kind) not in told:
                    told.add((origin, kind))
                    yield _finding(reading, node, name, kind, origin)


def _kind(reading: Reading, origin: cst.CSTNode) -> str | None:
    if not isinstance(origin, cst.Call):
        return None
    called = reading.origins.called(origin) or ""
    if called in _GENERATORS:
        return "a random generator"
    if called in _OPENED:
        return _OPENED[called]
    if called.startswith(_ENVIRONMENTS):
        return "an environment"
    if isinstance(origin.func, cst.Attribute) and origin.func.attr.value == "cursor":
        return "a cursor"
    return None


def _finding(reading: Reading, node: cst.CSTNode, name: str, kind: str, origin: cst.CSTNode) -> Finding:
    made = reading.code.where(origin)
    if kind == "a random generator":
        usual = _GENERATORS[reading.origins.called(origin) or ""]
        return reading.finding(
            RULE,
            node,
            name,
            f"{name} is a random generator of its own, made at {made} and used in a loop; a restart begins "
            "its numbers again",
            f"draw from {usual}, whose state every checkpoint has",
        )
    todo = {
        "an environment": "reset it in each turn of run.epochs(...), with a seed that hangs on the turn",
        "an open file": "open it inside the loop, or write through run.save(...) and run.log(...)",
    }.get(kind, "open it where it is used, and keep the position in run.carry(...)")
    return reading.finding(
        RULE,
        node,
        name,
        f"{name} is {kind}, made at {made} and used in a loop; nobody can save where it is, so numbers "
        "after a restart may differ",
        todo,
        loses=False,
    )


CASES = (
    Case(
        "an environment, an open file and a cursor",
        """
        import gymnasium as gym
        import sqlite3
        def main(run, settings):
            env = gym.make("CartPole-v1")
            file = open("log.txt", "w")
            rows = sqlite3.connect("data.db").cursor()
            for episode in run.epochs(9):
                state, _ = env.reset()  # lost: env
                file.write("begun")  # lost: file
                rows.fetchone()  # lost: rows
        """,
    ),
    Case(
        "what is opened and closed in the loop, and what only others use",
        """
        def main(run, settings):
            loader = run.loader(data)
            text = open("names.txt").read()
            print(text)
            for x in loader:
                with open("log.txt", "a") as file:
                    file.write(str(x))
        """,
    ),
    Case(
        "a generator of its own, in an attribute",
        """
        import numpy as np
        class Trainer:
            def __init__(self, run):
                self.rng = np.random.default_rng(0)
                self.loader = run.loader(data)
            def fit(self):
                for x in self.loader:
                    x = x + self.rng.normal()  # lost: self.rng
        """,
    ),
    Case(
        "a generator that only the loader has, and the global ones",
        """
        import numpy as np
        import torch
        def main(run, settings):
            loader = run.loader(data, shuffle=True, generator=torch.Generator())
            for x in loader:
                x = x + np.random.normal() + torch.randn(1)
        """,
    ),
)
