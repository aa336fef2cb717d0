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
    Bad("nothing starts", HEAD + "def main():\n    pass\n", "", "nothing here starts"),
    Bad(
        "a hand-written update",
        program(
            body="""
            model = nn.Linear(3, 1)
            for step in range(3):
                model(torch.ones(3)).sum().backward()
                for p in model.parameters():
                    p.data -= 0.1 * p.grad
            """.replace("            ", "")
        ),
        ".sum().backward",
        "backward() without the step of an optimizer",
    ),
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
    Bad("click", "import click\n" + program(), "import click", "options by click"),
    Bad(
        "DDP",
        program(top="\nmodel = nn.parallel.DistributedDataParallel(nn.Linear(1, 1))"),
        "DistributedDataParallel",
        "distributes itself",
    ),
    Bad(
        "spawn",
        program(head="import torch.multiprocessing as mp", tail="mp.spawn(print, nprocs=2)\n"),
        "mp.spawn",
        "distributes itself",
    ),
    Bad(
        "DataParallel",
        program(tail="model = nn.DataParallel(model)\n"),
        "nn.DataParallel",
        "distributes itself",
    ),
    Bad(
        "a star import",
        "from helpers import *\n" + program(),
        "from helpers",
        "nobody can tell which names",
    ),
    Bad(
        "a global",
        program(head="COUNT = 0\n\ndef tick():\n    global COUNT\n    COUNT += 1", tail="tick()\n"),
        "global COUNT",
        "state that is kept in the module",
    ),
    Bad(
        "a loader that is iterated by hand",
        program(tail="x, y = next(iter(loader))\n"),
        "next(iter",
        "loader is iterated by hand",
    ),
    Bad(
        "loaders in a dictionary",
        program(tail='loaders = {"train": DataLoader(data), "val": DataLoader(data)}\n'),
        "loaders = {",
        "in an unusual way",
    ),
    Bad(
        "a loader in a comprehension",
        program(tail="sizes = [len(x) for x, y in loader]\n"),
        "sizes =",
        "iterated in a comprehension",
    ),
    Bad(
        "loaders that are zipped",
        program(tail="for a, b in zip(loader, loader):\n    print(a, b)\n"),
        "zip(",
        "is handed to zip",
    ),
    Bad(
        "a loader inside a loader",
        program(tail="for x, y in loader:\n    for a, b in loader:\n        print(a)\n"),
        "for a, b",
        "inside the one at",
    ),
    Bad(
        "a stream",
        program(
            head="""
            class Stream(torch.utils.data.IterableDataset):
                def __iter__(self):
                    yield 1
            """
        ),
        "class Stream",
        "IterableDataset",
    ),
    Bad(
        "two training loops",
        program(tail="for epoch in range(2):\n    optimizer.step()\n"),
        "for epoch in range(2)",
        "a second training loop",
    ),
    Bad(
        "a condition in place of a range",
        program(
            body=BODY.replace("for epoch in range(3):", "while model.bias.item() < 1:"),
        ),
        "while",
        "the training loop is `while",
    ),
    Bad(
        "an optimizer in a list",
        program(
            body=BODY.replace(
                "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)",
                "optimizers = [torch.optim.SGD(model.parameters(), lr=0.1)]",
            ).replace("optimizer.", "optimizers[0].")
        ),
        "",
        "backward() without the step of an optimizer",
    ),
    Bad(
        "a second optimizer that nobody can follow",
        program(top="\nothers = [torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)]"),
        "others =",
        "this optimizer is not in a variable of main",
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
        "training in a class",
        program(
            head="""
            class Trainer:
                def fit(self, model, loader):
                    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                    for x, y in loader:
                        optimizer.step()
            """,
        ),
        "optimizer.step()",
        "training inside the class Trainer",
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
    Bad(
        "a function that needs the run and is handed around",
        program(
            head="""
            def save(model):
                torch.save(model, "model.pt")
            """,
            tail="for model in map(save, [model]):\n    print(model)\n",
        ),
        "map(save",
        "is handed around as a value",
    ),
    Bad(
        "a loader that a method builds",
        program(
            head="""
            class Data:
                def loader(self, data):
                    return DataLoader(data)
            """,
        ),
        "return DataLoader",
        "inside the class Data",
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
    code = program(tail="x, y = next(iter(loader))\nmodel = nn.DataParallel(model)\n")
    with pytest.raises(ConversionError) as caught:
        convert(script(code), tmp_path / "out")
    assert "iterated by hand" in caught.value.found
    assert "distributes itself" in caught.value.found
