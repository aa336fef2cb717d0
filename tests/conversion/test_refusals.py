"""What is refused: with the place, the reason and what to do, and with nothing written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bessemer.conversion import convert
from bessemer.errors import ConversionError
from conversion.small_programs import BODY, HEAD, program, snapshot

Script = Callable[..., Path]


@dataclass(frozen=True)
class Bad:
    """A program that is refused; `at` is a text on the line that the message must name."""

    why: str
    code: str
    at: str
    found: str


BADS = [
    Bad(
        "no training",
        'def main():\n    print("hello")\n\nif __name__ == "__main__":\n    main()\n',
        "def main",
        "no training here",
    ),
    Bad(
        "a step and no loop",
        "import torch\nw = torch.nn.Linear(1, 1)\n"
        "optimizer = torch.optim.SGD(w.parameters(), lr=0.1)\n"
        "w(torch.ones(1)).backward()\noptimizer.step()\n",
        "optimizer.step()",
        "trains nothing",
    ),
    Bad("nothing starts", HEAD + "def main():\n    pass\n", "", "nothing here starts"),
    Bad(
        "TensorFlow",
        "import tensorflow as tf\n" + program(),
        "import tensorflow",
        "Bessemer converts PyTorch",
    ),
    Bad("JAX", "from jax import numpy\n" + program(), "from jax", "Bessemer converts PyTorch"),
    Bad(
        "Lightning",
        "import pytorch_lightning as pl\n" + program(),
        "import pytorch_lightning",
        "owns the loop",
    ),
    Bad(
        "a star import",
        "from helpers import *\n" + program(),
        "from helpers",
        "nobody can tell which names",
    ),
    Bad(
        "an optimizer that is made in the loop",
        program(
            body=BODY.replace("optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n", "").replace(
                "    for x, y",
                "    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n    for x, y",
            )
        ),
        "optimizer = ",
        "this optimizer is not in a variable of main",
    ),
    Bad(
        "an optimizer of a class that nobody uses",
        program(
            head="""
            class Trainer:
                def fit(self, model, loader):
                    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                    for x, y in loader:
                        optimizer.step()
            """,
        ),
        "optimizer = torch.optim",
        "this optimizer is not in a variable of main",
    ),
    Bad(
        "subcommands",
        program(
            head="import argparse",
            top="""
            parser = argparse.ArgumentParser()
            commands = parser.add_subparsers()
            args = parser.parse_args()
            """,
        ),
        "add_subparsers",
        "parser.add_subparsers cannot be turned into settings",
    ),
    Bad(
        "options in a loop",
        program(
            head="import argparse",
            top="""
            parser = argparse.ArgumentParser()
            for name in ("--a", "--b"):
                parser.add_argument(name)
            args = parser.parse_args()
            """,
        ),
        "parser.add_argument(name)",
        "parser.add_argument cannot be turned into settings",
    ),
    Bad(
        "an option of an unknown type",
        program(
            head="import argparse",
            top="""
            parser = argparse.ArgumentParser()
            parser.add_argument("--shape", type=lambda text: text.split("x"))
            args = parser.parse_args()
            """,
        ),
        "--shape",
        "of an option without a default",
    ),
    Bad(
        "an option that is defined twice",
        program(
            head="import argparse",
            top="""
            parser = argparse.ArgumentParser()
            parser.add_argument("--save-model", action="store_true")
            parser.add_argument("--save_model", action="store_true")
            args = parser.parse_args()
            """,
        ),
        "--save_model",
        "option save_model is defined twice",
    ),
    Bad(
        "an entry point with a decorator",
        program().replace("def main():", "@torch.enable_grad()\ndef main():"),
        "def main",
        "the entry point main has decorators",
    ),
]


def test_the_program_that_the_bad_ones_begin_with_converts(script: Script, tmp_path: Path) -> None:
    convert(script(program()), tmp_path / "out")


@pytest.mark.parametrize("bad", BADS, ids=lambda bad: bad.why)
def test_it_is_refused(bad: Bad, script: Script, tmp_path: Path) -> None:
    path = script(bad.code)
    before = snapshot(tmp_path)
    with pytest.raises(ConversionError) as caught:
        convert(path, tmp_path / "projects" / "out")
    error = caught.value
    assert bad.found in error.found
    assert error.expected
    assert error.todo
    lines = path.read_text().splitlines()
    line = int(error.found.split(":")[1])
    assert error.found.startswith("train.py:")
    assert bad.at in lines[line - 1]
    assert snapshot(tmp_path) == before
    assert not (tmp_path / "projects").exists()


def test_all_reasons_are_named_at_once(script: Script, tmp_path: Path) -> None:
    code = program(
        head="import multiprocessing",
        tail="multiprocessing.Process(target=print)\nmultiprocessing.Process(target=len)\n",
    )
    with pytest.raises(ConversionError) as caught:
        convert(script(code), tmp_path / "out")
    assert caught.value.found.count("the program starts processes") == 2
