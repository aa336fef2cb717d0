"""The normal form does what the program did: each is run, and what they print is compared."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import libcst as cst
import pytest

from bessemer.conversion import sources
from bessemer.conversion.normal import Normal, normalize
from bessemer.conversion.normal.entries import pick_entry
from bessemer.conversion.syntax import every
from bessemer.errors import ConversionError, SourceError

# Files by path; the first one is run. Most are what research code does in some way or other.
PROGRAMS: dict[str, dict[str, str]] = {
    "code at module level": {
        "main.py": """
            import math
            SCALE = 3
            values = [math.sqrt(x) for x in range(4)]
            total = 0
            for i, value in enumerate(values):
                total += SCALE * value
                print(i, total)
            """
    },
    "a guard after code at module level": {
        "main.py": """
            print("first")
            level = 2
            def show(x):
                print(x, level)
            if __name__ == "__main__":
                show("second")
                level = 3
                show("third")
            """
    },
    "functions that read globals, through each other": {
        "main.py": """
            def inner(x):
                return x * factor + offset
            def outer(x, y=1):
                return inner(x) + y
            factor = 2
            offset = 10
            print(outer(1), outer(2, y=5))
            factor = 3
            print(outer(1))
            """
    },
    "a global that a loop sets again": {
        "main.py": """
            def report():
                print("epoch", epoch, best)
            best = 0
            for epoch in range(3):
                best = max(best, epoch * 2)
                report()
            """
    },
    "a function that sets a global": {
        "main.py": """
            best = 0
            def improve(x):
                global best
                best = max(best, x)
            def show():
                print(best)
            for x in (1, 3, 2):
                improve(x)
                show()
            """
    },
    "a class that reads globals in all its methods": {
        "main.py": """
            class Net:
                def __init__(self, name):
                    self.name = name
                    self.sizes = [width] * 2
                def forward(self, x):
                    return x + width, self.name, device
            width = len("four")
            device = str("cpu")
            net = Net("a")
            print(net.forward(1), net.sizes)
            """
    },
    "a class without __init__": {
        "main.py": """
            class Adder:
                '''Adds.'''
                def __call__(self, x):
                    return x + step
            step = len("abc")
            print(Adder()(1))
            """
    },
    "a class whose global is set again after it was made": {
        "main.py": """
            class Net:
                def forward(self):
                    return epoch
            net = Net()
            for epoch in range(3):
                print(net.forward())
            """
    },
    "a function that is a value": {
        "main.py": """
            def key(x):
                return -x * sign
            sign = 1
            print(sorted([3, 1, 2], key=key))
            sign = -1
            print(sorted([3, 1, 2], key=key))
            """
    },
    "a generator that reads a global late": {
        "main.py": """
            def numbers():
                while True:
                    yield step
            step = 1
            stream = numbers()
            print(next(stream))
            step = 2
            print(next(stream))
            """
    },
    "defaults and bases that need a value": {
        "main.py": """
            import random
            random.seed(3)
            size = random.randint(1, 9)
            def make(n=size):
                return n
            class Base:
                kind = size
            class Derived(Base):
                pass
            size = 0
            print(make(), Derived.kind)
            """
    },
    "a function that is defined twice": {
        "main.py": """
            def f():
                return 1
            print(f())
            def f():
                return 2
            print(f())
            """
    },
    "a parameter that hides a global": {
        "main.py": """
            def helper():
                return device
            def test(device):
                return device, helper()
            device = str("cuda")
            print(test("cpu"))
            """
    },
    "a comprehension and a lambda that hide a global": {
        "main.py": """
            def shown(x):
                return x, model
            model = str("global")
            print([shown(model) for model in ("a", "b")], shown(0))
            print((lambda model: shown(model))("c"))
            """
    },
    "an object that has an attribute of the same name": {
        "main.py": """
            class Part:
                def __init__(self):
                    self.device = "own"
                def where(self):
                    return device, self.device
            device = str("cpu")
            print(Part().where())
            """
    },
    "a class with a method of the same name": {
        "main.py": """
            class Part:
                def size(self):
                    return size + 1
            size = len("abc")
            print(Part().size())
            """
    },
    "a local variable that is called like what it is computed by": {
        "main.py": """
            import helper
            def show(r):
                area = helper.area(r)
                return area
            print(show(2))
            """,
        "helper.py": "def area(r):\n    return 3 * r * r\n",
    },
    "a function that uses one that is a value": {
        "main.py": """
            def key(x):
                return -x * sign
            def largest(values):
                return sorted(values, key=key)[0]
            sign = int("1")
            print(largest([3, 1, 2]))
            """
    },
    "a global that only functions set": {
        "main.py": """
            def count():
                global calls
                calls = calls + 1 if started else 1
                return calls
            started = bool("")
            print(count())
            started = bool("yes")
            print(count())
            """
    },
    "a name that is set in both branches": {
        "main.py": """
            import sys
            if len(sys.argv) > 5:
                mode = "long"
            else:
                mode = "short"
            def show():
                print(mode)
            show()
            """
    },
    "a name that is read only after it is set": {
        "main.py": """
            def show(first):
                print("first" if first else later)
            show(True)
            later = int("5")
            show(False)
            """
    },
    "local modules": {
        "main.py": """
            import helper
            from parts.model import Net as Model, WIDTH
            import parts.data as data
            print(helper.double(3), Model(2).out(), WIDTH, data.load(), data.NAMES)
            """,
        "helper.py": """
            print("helper is imported")
            def double(x):
                return 2 * x
            if __name__ == "__main__":
                print("never")
            """,
        "parts/__init__.py": "print('parts')\n",
        "parts/model.py": """
            from .data import load
            WIDTH = 7
            class Net:
                def __init__(self, n):
                    self.n = n
                def out(self):
                    return self.n * WIDTH + load()
            """,
        "parts/data.py": """
            print("data is imported")
            NAMES = ["a", "b"]
            def load():
                return len(NAMES)
            """,
    },
    "the same name in two files": {
        "main.py": """
            import helper
            from helper import scale as other
            def scale(x):
                return x + 1
            def accuracy(x):
                accuracy = helper.accuracy(x)
                return accuracy
            print(scale(1), other(1), helper.scale(2), accuracy(4))
            """,
        "helper.py": """
            FACTOR = 10
            def scale(x):
                return x * FACTOR
            def accuracy(x):
                return scale(x) / 2
            """,
    },
    "a variable that is called like a module": {
        "main.py": """
            import model
            kind = "b"
            if kind == "a":
                model = model.A(1)
            else:
                model = model.B(2)
            def show():
                print(model.value)
            show()
            """,
        "model.py": """
            class A:
                def __init__(self, x):
                    self.value = x
            class B:
                def __init__(self, x):
                    self.value = 10 * x
            """,
    },
    "star imports and names that are handed on": {
        "main.py": """
            from utils import *
            from package import Net
            print(area(2), Net().kind, nn(1))
            """,
        "utils.py": """
            from math import floor as nn
            PI = 3
            def area(r):
                return PI * r * r
            """,
        "package/__init__.py": "from .net import *\n",
        "package/net.py": "class Net:\n    kind = 'net'\n",
    },
    "a folder that is put on the path": {
        "train/main.py": """
            import os, sys
            sys.path.append(os.path.join(os.path.dirname(__file__), ".."))
            import common
            print(common.answer())
            """,
        "common.py": "def answer():\n    return 42\n",
    },
    "a folder beside that is put on the path": {
        "main.py": """
            import sys
            sys.path.insert(0, "lib")
            import common
            print(common.answer())
            """,
        "lib/common.py": "def answer():\n    return 43\n",
    },
    "an import inside of a function, and one that may fail": {
        "main.py": """
            try:
                import surely_not_there as extra
            except ImportError:
                extra = None
            def late():
                from helper import value
                return value
            print(extra, late())
            """,
        "helper.py": "value = 3\n",
    },
}


def written(files: dict[str, str], folder: Path) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip("\n"))
    return folder / next(iter(files))


def normal_form(folder: Path, entry: str) -> Normal:
    read = sources.read(folder)
    return normalize(read, pick_entry(read, entry))


def printed(script: Path) -> str:
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=60, check=False, cwd=script.parent
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_normal_form_prints_what_the_program_printed(name: str, tmp_path: Path) -> None:
    script = written(PROGRAMS[name], tmp_path / "source")
    entry = next(iter(PROGRAMS[name]))
    normal = normal_form(tmp_path / "source", entry)
    alone = tmp_path / "alone" / "program.py"
    alone.parent.mkdir()
    alone.write_text(f"{normal.module.code}\n{normal.entry}()\n")
    assert printed(alone) == printed(script)


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_normal_form_runs_nothing_at_module_level(name: str, tmp_path: Path) -> None:
    written(PROGRAMS[name], tmp_path)
    module = normal_form(tmp_path, next(iter(PROGRAMS[name]))).module
    for statement in module.body:
        text = module.code_for_node(statement).strip()
        is_plain = isinstance(statement, cst.FunctionDef | cst.ClassDef | cst.SimpleStatementLine | cst.Try)
        assert is_plain, text
        assert "print(" not in text or isinstance(statement, cst.FunctionDef | cst.ClassDef), text


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_statement_knows_where_it_stood(name: str, tmp_path: Path) -> None:
    written(PROGRAMS[name], tmp_path)
    normal = normal_form(tmp_path, next(iter(PROGRAMS[name])))
    for node in every(normal.module):
        if isinstance(node, cst.Integer | cst.SimpleString) and node.value != '"main"':
            path, _, line = (normal.places.of(node) or "").rpartition(":")
            assert node.value in (tmp_path / path).read_text().splitlines()[int(line) - 1]


def test_what_is_handed_over_is_in_the_order_in_which_it_is_read(tmp_path: Path) -> None:
    written(
        {"main.py": 'def f():\n    return zeta, alpha, mid\nalpha = mid = zeta = len("a")\nprint(f())\n'},
        tmp_path,
    )
    assert "def f(zeta, alpha, mid):" in normal_form(tmp_path, "main.py").module.code


def test_an_import_with_another_way_stays_at_module_level(tmp_path: Path) -> None:
    written(PROGRAMS["an import inside of a function, and one that may fail"], tmp_path)
    body = normal_form(tmp_path, "main.py").module.body
    assert any(isinstance(statement, cst.Try) for statement in body)


def test_the_reason_why_a_function_stays_inside_is_kept(tmp_path: Path) -> None:
    written(PROGRAMS["a function that is a value"], tmp_path)
    (nested,) = normal_form(tmp_path, "main.py").nested
    assert (nested.name, nested.where) == ("key", "main.py:1")
    assert "used as a value" in nested.reason


def test_the_script_that_trains_is_found_among_several(tmp_path: Path) -> None:
    files = {
        "main.py": "import net\nloss.backward()\n",
        "net.py": "x = 1\n",
        "show.py": "import net\nprint(net.x)\n",
    }
    written(files, tmp_path)
    assert pick_entry(sources.read(tmp_path)).path == "main.py"
    (tmp_path / "other.py").write_text("loss.backward()\n")
    with pytest.raises(SourceError, match=r"several entry points: main.py, other.py"):
        pick_entry(sources.read(tmp_path))
    assert pick_entry(sources.read(tmp_path), "other").path == "other.py"
    with pytest.raises(SourceError, match="there is no script third"):
        pick_entry(sources.read(tmp_path), "third")


def test_a_module_and_a_variable_of_one_name_in_a_function_are_refused(tmp_path: Path) -> None:
    files = {
        "main.py": "import model\ndef f():\n    return model.x\nmodel = model.x\nprint(f())\n",
        "model.py": "x = 1\n",
    }
    written(files, tmp_path)
    with pytest.raises(ConversionError, match="model is a local module, and a variable as well"):
        normal_form(tmp_path, "main.py")
