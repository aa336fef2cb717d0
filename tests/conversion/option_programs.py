"""Programs whose options are not those of argparse, in each style, and a command line of each.

Each is its files by path, the first of which is run; the words behind its name; the settings that these words
stand for; and what it prints with them, where the library that it needs may not be installed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Styled:
    files: dict[str, str]
    words: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    prints: str | None = None


CONFIGURATOR = """
    import sys
    from ast import literal_eval
    for word in sys.argv[1:]:
        key, value = word.removeprefix("--").split("=")
        globals()[key] = literal_eval(value)
    """

PROGRAMS: dict[str, Styled] = {
    "constants": Styled(
        {
            "main.py": """
                LR = 0.5  # how fast
                BATCH_SIZE: int = 4
                # where it is
                DATA_DIR = "./data"
                NUM_CLASSES = 10
                TWICE = BATCH_SIZE * 2
                epochs = -1
                def f(x=NUM_CLASSES):
                    return LR * x + TWICE
                class Net:
                    width = 3
                    def g(self):
                        return self.width * BATCH_SIZE
                print(f(), Net().g(), DATA_DIR, epochs, f"{LR:.2f}")
                """
        }
    ),
    "constants of main": Styled(
        {
            "main.py": """
                def main():
                    '''Starts.'''
                    epochs = 3
                    hidden, width = 4, 5
                    lr = 0.1
                    def inner():
                        return epochs + hidden
                    for epoch in range(epochs):
                        batch_size = 7
                        lr *= 2
                    print(inner(), width, lr, batch_size)
                if __name__ == "__main__":
                    main()
                """
        }
    ),
    "constants beside argparse": Styled(
        {
            "main.py": """
                import argparse
                WIDTH = 3
                DEPTH = 2
                parser = argparse.ArgumentParser()
                parser.add_argument("--depth-of", type=int, default=DEPTH)
                parser.add_argument("--lr", type=float, default=0.1)
                args = parser.parse_args()
                HIDDEN = 7
                def f():
                    return WIDTH + HIDDEN
                print(args.lr, f(), args.depth_of)
                """
        },
        "--lr 0.5",
        {"lr": 0.5},
    ),
    "constants that a definition needs when it is made": Styled(
        {
            "main.py": """
                WIDTH = 3
                HEADS = 2
                LR = 0.1
                def f(x, width=WIDTH):
                    return x * width
                def key(x):
                    return x % HEADS
                print(f(2), sorted([1, 2, 3], key=key), LR)
                """
        }
    ),
    "constants that are shown with their names": Styled(
        {
            "main.py": """
                LR = 0.1
                DROPOUT = 0.3
                print(f"{LR=} {DROPOUT}")
                """
        }
    ),
    "a module of constants": Styled(
        {
            "main.py": """
                import config
                from config import LR as rate
                def f():
                    return config.HIDDEN_SIZE * rate
                print(f())
                """,
            "config.py": """
                LR = 0.25
                HIDDEN_SIZE = 12
                """,
        }
    ),
    "places of data": Styled(
        {
            "main.py": """
                import numpy as np
                np.save("one.npy", np.arange(3))
                def read():
                    return np.load("one.npy")
                print(read().sum() + np.load("one.npy").sum(), np.load(file="./one.npy").size)
                """
        }
    ),
    "a program that looks at its globals": Styled(
        {
            "main.py": """
                LR = 0.1
                EPOCHS = 3
                print(LR, EPOCHS, "EPOCHS" in globals())
                """
        }
    ),
    "a dictionary that is read": Styled(
        {
            "main.py": """
                config = {
                    "lr": 0.1,  # how fast
                    "batch_size": 4,
                }
                def f():
                    return config["lr"]
                print(f() * config["batch_size"])
                """
        }
    ),
    "a dictionary that is handed around and changed": Styled(
        {
            "main.py": """
                params = {"lr": 0.1, "layers": [1, 2], "optim": {"momentum": 0.9, "lr": 0.3}, "sizes": (1, 2)}
                def show(given):
                    print(sorted(given.items(), key=str))
                params["seed"] = 3
                show(params)
                show({**params, "lr": 1})
                """
        }
    ),
    "namespaces": Styled(
        {
            "main.py": """
                import argparse
                from types import SimpleNamespace
                args = argparse.Namespace(lr=0.1, steps=3)
                hp = SimpleNamespace(**{"width": 4, "name": "x"})
                def f(h):
                    return h.width
                print(args.lr, args.steps, f(hp), hp)
                """
        }
    ),
    "a dataclass": Styled(
        {
            "main.py": """
                from dataclasses import dataclass, field, asdict
                @dataclass(frozen=True)
                class Config:
                    lr: float = 0.1  # how fast
                    steps: int = 3
                    names: list = field(default_factory=list)
                    seed: int = None
                    def total(self):
                        return self.lr * self.steps
                cfg = Config(steps=5, names=["a"])
                def f(c: Config):
                    return c.total()
                print(cfg, f(cfg), asdict(cfg))
                """
        }
    ),
    "a class whose attributes are read": Styled(
        {
            "main.py": """
                class Config:
                    lr = 0.1
                    batch_size = 4
                    twice = 2 * batch_size
                class Params:
                    '''All of them.'''
                    hidden = 3
                    width = 2
                def f():
                    return Params.hidden + Params.width
                print(f(), Config.lr, Config.twice)
                """
        }
    ),
    "an object of a class": Styled(
        {
            "main.py": """
                class Args:
                    lr = 0.1
                    def __init__(self):
                        self.batch_size = 4
                        self.steps = 3
                        self.total = self.batch_size * self.steps
                args = Args()
                def f(given):
                    return given.lr * given.total
                print(f(args), args.batch_size, args.steps)
                """
        }
    ),
    "click": Styled(
        {
            "main.py": """
                import click
                @click.command()
                @click.option("--lr", default=0.1, help="How fast.")
                @click.option("--batch-size", "-b", type=int, default=8)
                @click.option("--shuffle/--no-shuffle", default=True)
                @click.option("--fast", is_flag=True)
                @click.option("--slow", is_flag=True, default=True)
                @click.option("--cell", type=click.Choice(["gru", "lstm"]), default="gru")
                @click.option("--note", default=None)
                @click.option("--tag", multiple=True)
                @click.option("--size", nargs=2, type=int, default=(1, 2))
                @click.option("--on", type=bool, default=False)
                @click.option("--level", "depth", type=click.IntRange(1, 5), required=True)
                @click.argument("folder")
                def main(lr, batch_size, shuffle, fast, slow, cell, note, tag, size, on, depth, folder):
                    lr = lr * 2
                    print(lr, batch_size, shuffle, fast, slow, cell, note, *tag, *size, on, depth, folder)
                if __name__ == "__main__":
                    main()
                """
        },
        "here --lr 1 -b 3 --no-shuffle --fast --cell lstm --tag a --tag b --size 3 4 --on yes --level 2",
        {
            "folder": "here",
            "lr": 1.0,
            "batch_size": 3,
            "shuffle": False,
            "fast": True,
            "cell": "lstm",
            "tag": ["a", "b"],
            "size": [3, 4],
            "on": True,
            "depth": 2,
        },
    ),
    "typer": Styled(
        {
            "main.py": """
                from typing import Annotated, Optional
                import typer
                app = typer.Typer()
                @app.command()
                def main(
                    folder: str,
                    lr: float = 0.1,
                    num_steps: int = typer.Option(3, help="how many"),
                    amp: bool = False,
                    out: Optional[str] = None,
                    rate: Annotated[float, typer.Option("--rate", "-r", help="of it")] = 0.5,
                ):
                    print(folder, lr, num_steps, amp, out, rate)
                if __name__ == "__main__":
                    app()
                """
        },
        "here --lr 2 --num-steps 5 --amp -r 0.25",
        {"folder": "here", "lr": 2.0, "num_steps": 5, "amp": True, "rate": 0.25},
    ),
    "a function that typer runs": Styled(
        {
            "main.py": """
                import typer
                def main(lr: float = 0.1, amp: bool = True):
                    print(lr, amp)
                if __name__ == "__main__":
                    typer.run(main)
                """
        },
        "--no-amp",
        {"amp": False},
    ),
    "fire": Styled(
        {
            "main.py": """
                import fire
                def train(folder: str, lr=0.1, num_steps=3, sizes=(1, 2), resume: str = None, amp=False):
                    '''Trains.

                    Args:
                        lr: how fast.
                    '''
                    num_steps += 1
                    print(folder, lr, num_steps, sizes, resume, amp)
                if __name__ == "__main__":
                    fire.Fire(train)
                """
        },
        "here 0.5 --num-steps=4 --amp",
        {"folder": "here", "lr": 0.5, "num_steps": 4, "amp": True},
        "here 0.5 5 (1, 2) None True\n",
    ),
    "tyro": Styled(
        {
            "main.py": """
                from dataclasses import dataclass, field
                from typing import List, Literal, Optional
                import tyro
                @dataclass
                class Args:
                    '''What is chosen.'''
                    name: str = "main"
                    '''what it is called'''
                    num_steps: int = int(2e1)
                    lr: float = 1  # how fast
                    bound: Optional[float] = None
                    cuda: bool = True
                    track: bool = False
                    cell: Literal["gru", "lstm"] = "gru"
                    sizes: List[int] = field(default_factory=lambda: [1, 2])
                    half: int = 0
                if __name__ == "__main__":
                    args = tyro.cli(Args)
                    args.half = args.num_steps // 2
                    print(args.name, args.lr, args.bound, args.cuda, args.track, args.cell, args.sizes)
                    print(args.half)
                """
        },
        "--num-steps 6 --bound 0.5 --no-cuda --track --cell lstm",
        {"num_steps": 6, "bound": 0.5, "cuda": False, "track": True, "cell": "lstm"},
        "main 1 0.5 False True lstm [1, 2]\n3\n",
    ),
    "absl": Styled(
        {
            "main.py": """
                from absl import app, flags
                FLAGS = flags.FLAGS
                flags.DEFINE_float("lr", 0.1, "how fast")
                flags.DEFINE_enum("cell", "gru", ["gru", "lstm"], "which")
                flags.DEFINE_bool("amp", True, "mixed")
                flags.DEFINE_boolean("fast", False, "or slow")
                COUNT = flags.DEFINE_integer("count", 3, "of them", lower_bound=1)
                def work():
                    return FLAGS.lr * COUNT.value
                def main(argv):
                    del argv
                    print(FLAGS.cell, FLAGS.amp, FLAGS.fast, work())
                if __name__ == "__main__":
                    app.run(main)
                """
        },
        "--lr=0.5 --cell lstm --noamp --fast=true --count 4",
        {"lr": 0.5, "cell": "lstm", "amp": False, "fast": True, "count": 4},
        "lstm False True 2.0\n",
    ),
    "sys.argv": Styled(
        {
            "main.py": """
                import sys
                if len(sys.argv) < 2:
                    print("usage")
                    sys.exit(1)
                steps = int(sys.argv[1])  # how many
                lr = float(sys.argv[2]) if len(sys.argv) > 2 else 0.1
                if len(sys.argv) > 3:
                    name = sys.argv[3]
                else:
                    name = "none"
                def f():
                    return steps * lr
                print(f(), name)
                """
        },
        "4 0.5",
        {"steps": 4, "lr": 0.5},
    ),
    "sys.argv that the program reads itself": Styled(
        {
            "main.py": """
                import sys
                class Node:
                    def __init__(self, **values):
                        self.__dict__.update(values)
                config = Node(lr=0.5, steps=3)
                def merge(words):
                    for word in words:
                        name, value = word.split("=")
                        setattr(config, name, float(value))
                def note():
                    return " ".join(sys.argv[1:])
                merge(sys.argv[1:])
                print(config.lr * config.steps, note(), len(sys.argv))
                """
        },
        "lr=2 steps=4",
        {"arguments": ["lr=2", "steps=4"]},
    ),
    "a configurator": Styled(
        {
            "main.py": """
                # how it trains
                batch_size = 12
                lr = 6e-4 # how fast
                decay = True
                name = "run"
                _hidden = 3
                config_keys = [k for k, v in globals().items() if not k.startswith("_")]
                exec(open("configurator.py").read()) # overrides
                config = {k: globals()[k] for k in config_keys}
                batch_size *= 2
                def f():
                    return lr
                print(config, batch_size, f(), decay, name)
                """,
            "configurator.py": CONFIGURATOR,
        },
        "--batch_size=3 --decay=False",
        {"batch_size": 3, "decay": False},
    ),
    "files": Styled(
        {
            "main.py": """
                import json
                import yaml
                with open("config.yaml") as file:
                    config = yaml.safe_load(file)
                params = json.load(open("params.json"))
                def f():
                    return config["lr"], config["model"]
                print(f(), config["layers"], sorted(config), params["epochs"] * params["rate"])
                """,
            "config.yaml": """
                lr: 1e-3
                batch: 8
                layers: [1, 2]
                model:
                  hidden: 12
                  name: net
                nothing: null
                """,
            "params.json": '{"epochs": 3, "rate": 0.5}',
        }
    ),
}

# What becomes of a program: the options that it has then.
OPTIONS: dict[str, list[str]] = {
    "constants": ["LR", "BATCH_SIZE", "DATA_DIR", "epochs"],
    "constants of main": ["epochs"],
    "constants beside argparse": ["lr", "depth_of", "HIDDEN", "WIDTH"],
    "constants that a definition needs when it is made": ["LR"],
    "constants that are shown with their names": ["DROPOUT"],
    "a module of constants": ["LR", "HIDDEN_SIZE"],
    "places of data": ["data_file", "data_file_2"],
    "a program that looks at its globals": [],
    "a dictionary that is read": ["lr", "batch_size"],
    "a dictionary that is handed around and changed": ["params_lr", "momentum", "optim_lr", "sizes"],
    "namespaces": ["lr", "steps", "width", "name"],
    "a dataclass": ["lr", "steps"],
    "tyro": ["name", "num_steps", "lr", "bound", "cuda", "track", "cell", "half"],
    "a class whose attributes are read": ["hidden", "width"],
    "an object of a class": ["lr"],
    "sys.argv": ["steps", "lr", "name"],
    "sys.argv that the program reads itself": ["arguments"],
    "a configurator": ["batch_size", "lr", "decay", "name"],
    "files": ["lr", "batch", "hidden", "name", "epochs", "rate"],
}
