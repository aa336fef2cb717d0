"""Programs of unusual shapes are converted, each into what the run can take hold of."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bessemer.conversion import convert
from conversion.small_programs import BODY, program

Script = Callable[..., Path]


@dataclass(frozen=True)
class Odd:
    """A program, and a text that its project's code must hold."""

    why: str
    code: str
    holds: str


ODDS = [
    Odd(
        "imports that are tried together",
        program(
            head="""
            try: from torch.linalg import norm, det; HAS_BOTH = True
            except ImportError as error: print(error); raise
            """,
            tail="if HAS_BOTH:\n    print(norm(model.weight))\n",
        ),
        "\n\ntry:\n    from torch.linalg import det, norm  # noqa: F401\n\n    HAS_BOTH = True\n"
        "except ImportError as error:\n    print(error)\n    raise\n",
    ),
    Odd(
        "optimizers that one function makes for two models, and another name for one",
        program(
            head="def sgd(model):\n    return torch.optim.SGD(model.parameters(), lr=0.1)",
            body="""
            one, two = nn.Linear(3, 1), nn.Linear(3, 1)
            first = sgd(one)
            second = sgd(two)
            again = second
            for epoch in range(3):
                two(one(torch.ones(1, 3)).repeat(1, 3)).sum().backward()
                first.step()
                again.step()
            """.replace("            ", ""),
        ),
        "run.track(one=one, two=two, first=first, second=second, again=again)",
    ),
    Odd(
        "objects of one class that each have an optimizer",
        program(
            head="""
            class Critic(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.layer = nn.Linear(3, 1)
                    self.optimizer = torch.optim.SGD(self.layer.parameters(), lr=0.1)
                def learn(self):
                    self.layer(torch.ones(3)).sum().backward()
                    self.optimizer.step()
            """,
            body="""
            one, two = Critic(), Critic()
            for epoch in range(3):
                one.learn()
                two.learn()
            """.replace("            ", ""),
        ),
        "run.track(one=one, one_optimizer=one.optimizer, two=two, two_optimizer=two.optimizer)",
    ),
    Odd(
        "a copy of the model that follows it",
        program(
            head="import copy",
            top="\nnet = nn.Linear(3, 1)\nslow = copy.deepcopy(net)\n",
            tail="slow.load_state_dict(model.state_dict())\n",
        ),
        "run.track(net=net, slow=slow, model=model, optimizer=optimizer)",
    ),
    Odd(
        "a copy of the model that is made again",
        program(
            head="import copy",
            body=BODY.replace("for epoch", "best = copy.deepcopy(model)\nfor epoch")
            + "    if epoch < 2:\n        best = copy.deepcopy(model)\n",
            tail="torch.save(best.state_dict(), 'best.pt')\n",
        ),
        "carry.best = copy.deepcopy(model)",
    ),
    Odd(
        "printed words and tensors beside a loss",
        program(
            head="""
            def step(model, optimizer):
                output = model(torch.ones(3))
                loss = (output ** 2).mean()
                loss.backward()
                optimizer.step()
                return output, loss.item()
            def named(output):
                best = int(output.argmax())
                return "abc"[best], best
            """,
            body="""
            model = nn.Linear(3, 3)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            output = model(torch.ones(3))
            print(output)
            for epoch in range(3):
                output, loss = step(model, optimizer)
                guess, place = named(output)
                said = "right" if guess == "a" else "wrong (%s)" % guess
                print(epoch, loss, guess, said)
            weights = [x.item() for x in model.bias]
            print("weights", weights)
            print("row", [x.item() for x in model.weight[0]])
            print("end")
            """.replace("            ", ""),
        ),
        "    print(output)\n    run.track(model=model, optimizer=optimizer)\n"
        "    for epoch in run.epochs(3):\n        output, loss = step(model, optimizer)\n"
        "        guess, place = named(output)\n"
        '        said = "right" if guess == "a" else "wrong (%s)" % guess\n'
        '        print(epoch, loss, guess, said)\n        run.log({"train/loss": loss})\n'
        "    weights = [x.item() for x in model.bias]\n"
        '    print("weights", weights)\n    print("row", [x.item() for x in model.weight[0]])\n'
        '    print("end")\n',
    ),
    Odd(
        "numbers that are collected before they are printed",
        program(
            head="""
            import numpy as np
            def judged(model):
                found = {}
                for part in ("val", "test"):
                    values = torch.zeros(2)
                    for i in range(2):
                        values[i] = (model(torch.ones(3)) ** 2).mean().item()
                    found[part] = values.mean()
                return found
            """,
            body="""
            model = nn.Linear(3, 3)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for epoch in range(3):
                batch, names = [], []
                for i in range(2):
                    loss = (model(torch.ones(3)) ** 2).mean()
                    loss.backward()
                    optimizer.step()
                    batch.append(loss.item())
                    names.append(str(i))
                losses = judged(model)
                print(f"loss {np.mean(batch)}, val loss {losses['val']}, {max(names)}, {names[0]}")
            """.replace("            ", ""),
        ),
        'run.log({"train/loss": np.mean(batch), "val/loss": losses["val"]})',
    ),
    Odd(
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
        "run.track(model=model)",
    ),
    Odd(
        "a model that is chosen without an else",
        program(
            body=BODY.replace("model = nn.Linear(3, 1)", "if len(data) > 9:\n    model = nn.Linear(3, 1)")
        ),
        "model = None",
    ),
    Odd(
        "DDP",
        program(top="\nmodel = nn.parallel.DistributedDataParallel(nn.Linear(1, 1))"),
        "nn.Linear(1, 1)",
    ),
    Odd(
        "spawn",
        program(head="import torch.multiprocessing as mp", tail="mp.spawn(print, nprocs=2)\n"),
        "print(0)",
    ),
    Odd(
        "DataParallel",
        program(tail="model = nn.DataParallel(model)\n"),
        "run.track(model=model, optimizer=optimizer)",
    ),
    Odd(
        "a global",
        program(head="COUNT = 0\n\ndef tick():\n    global COUNT\n    COUNT += 1", tail="tick()\n"),
        "shared.COUNT += 1",
    ),
    Odd(
        "a loader that is iterated by hand",
        program(tail="x, y = next(iter(loader))\n"),
        "next(iter(loader))",
    ),
    Odd(
        "loaders in a dictionary",
        program(tail='loaders = {"train": DataLoader(data), "val": DataLoader(data)}\n'),
        "run.loader(data)",
    ),
    Odd(
        "a loader in a comprehension",
        program(tail="sizes = [len(x) for x, y in loader]\n"),
        "for x, y in loader]",
    ),
    Odd(
        "loaders that are zipped",
        program(tail="for a, b in zip(loader, loader):\n    print(a, b)\n"),
        "zip(loader, loader)",
    ),
    Odd(
        "a loader inside a loader",
        program(tail="for x, y in loader:\n    for a, b in loader:\n        print(a)\n"),
        "for a, b in loader:",
    ),
    Odd(
        "a stream",
        program(
            head="""
            class Stream(torch.utils.data.IterableDataset):
                def __iter__(self):
                    yield 1
            """
        ),
        "class Stream",
    ),
    Odd(
        "two training loops",
        program(tail="for epoch in range(2):\n    optimizer.step()\n"),
        "in run.epochs(2)",
    ),
    Odd(
        "a condition in place of a range",
        program(
            body=BODY.replace("for epoch in range(3):", "while model.bias.item() < 1:"),
        ),
        "_while(lambda: model.bias.item() < 1)",
    ),
    Odd(
        "an optimizer in a list",
        program(
            body=BODY.replace(
                "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)",
                "optimizers = [torch.optim.SGD(model.parameters(), lr=0.1)]",
            ).replace("optimizer.", "optimizers[0].")
        ),
        "optimizers_0=optimizers[0]",
    ),
    Odd(
        "a second optimizer that nobody can follow",
        program(top="\nothers = [torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)]"),
        "others_0=others[0]",
    ),
    Odd(
        "a function that needs the run and is handed around",
        program(
            head="""
            def save(model):
                torch.save(model, "model.pt")
            """,
            tail="for model in map(save, [model]):\n    print(model)\n",
        ),
        "run = current_run()",
    ),
    Odd(
        "a loader that a method builds",
        program(
            head="""
            class Data:
                def loader(self, data):
                    return DataLoader(data)
            """,
        ),
        "run = current_run()",
    ),
]


@pytest.mark.parametrize("odd", ODDS, ids=lambda odd: odd.why)
def test_it_is_converted(odd: Odd, script: Script, tmp_path: Path) -> None:
    out = tmp_path / "odd"
    convert(script(odd.code), out)
    code = {path: path.read_text() for path in sorted((out / "odd").rglob("*.py"))}
    for text in code.values():
        ast.parse(text)
    assert any(odd.holds in text for text in code.values()), code


def test_a_helper_may_import_another_framework_to_read_what_it_has_written(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("from weights import weights\n" + program(tail="print(weights())\n"))
    (tmp_path / "weights.py").write_text(
        "import tensorflow as tf\n\ndef weights():\n    return tf.zeros(1)\n"
    )
    convert(tmp_path, tmp_path.parent / "made", entry="train.py")
    assert "import tensorflow" in "".join(x.read_text() for x in (tmp_path.parent / "made").rglob("*.py"))
