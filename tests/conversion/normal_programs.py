"""Programs of each shape that the normal form takes, as files; what they print tells what they do."""

from __future__ import annotations

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
    "defaults that are variables": {
        "main.py": """
            size = len("four")
            scale = size * 2
            later = scale
            def inner(x, scale=scale):
                return x * scale
            def outer(x, y=1, scale=scale, *, by=size):
                return inner(x) + inner(x, 1) + inner(x, scale=scale) + y + by
            def hides(x, size=1):
                scale = 100
                return inner(x) + scale
            def changes(x=later):
                return x
            print(inner(1), outer(1), outer(1, 2, 3, by=4), hides(2), changes())
            later = 5
            print(changes(), later)
            for scale_of in range(2):
                print(outer(scale_of))
            """
    },
    "imports that are made again, and in vain": {
        "main.py": """
            import math
            from math import floor, sqrt
            def sqrt(x):
                return x
            def root(x):
                return sqrt(x) + math.floor(x)
            if math.pi > 3:
                import math
                from math import floor as down
                print(down(1.5))
            print(root(2.5), floor(2.5))
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
    "a class of any kind of object that reads what nobody can follow": {
        "main.py": """
            class Agent(object):
                def __init__(self):
                    self.seen = []
                def act(self, state):
                    self.seen.append(state)
                    return table[state][0], table.keys(), rows
            table = dict(a=[1, 2], b=[3, 4])
            rows = sum(len(x) for x in table.values())
            agent = Agent()
            print(agent.act("a"), agent.act("b"), agent.seen)
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
    "one import in two spellings": {
        "main.py": """
            from os import path
            from part import joined
            print(path.join("a", "b"), joined())
            """,
        "part.py": "import os.path as path\ndef joined():\n    return path.join('c', 'd')\n",
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
    "imports that say that they fail": {
        "main.py": """
            import warnings
            try:
                import math
                from collections import deque
            except ImportError as error:
                warnings.warn(str(error))
                raise ImportError
            try: import json; has_json = True
            except: has_json = False; json = None
            try: import surely_not_there
            except ImportError: print("not there")
            def show():
                print(math.floor(1.5), deque([1]), has_json, json.dumps([]))
            show()
            """
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
    "star imports of the standard library": {
        "main.py": """
            from math import *
            from helper import *
            def area(r):
                return pi * r ** 2
            print(area(2), floor(2.5), dumps([sqrt(4)]), basename("a/b"))
            """,
        "helper.py": """
            from json import *
            from os.path import *
            """,
    },
    "an import without which the program ends": {
        "main.py": """
            try:
                import argparse, json
                from math import floor
            except ImportError as error:
                print("needed:", error)
                raise
            try: import surely_not_there; found = True
            except: found = False; print("no extra")
            parser = argparse.ArgumentParser()
            parser.add_argument("--size", type=int, default=3)
            print(parser.parse_args([]).size, json.dumps(floor(1.5)), found)
            """,
    },
}
