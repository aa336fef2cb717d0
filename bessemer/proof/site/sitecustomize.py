"""Puts the tape into a process: Python imports a module of this name when it starts.

This folder stands first on PYTHONPATH. All that happens here is that a finder waits for a few modules;
a process that never imports torch imports nothing more and writes nothing. Another `sitecustomize`
that is on the path, such as that of an outside recorder, is run too.

    VERIFY_TAPE=DIR       where the tapes go, and where `tape.json` says how
    VERIFY_TAPE_SEED=S    seeds Python's, NumPy's and torch's generators, each as soon as it is there
"""

import importlib.machinery
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))


def _loaded_from(path, name):
    import importlib.util

    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _tape():
    name = "_bessemer_tape"
    return sys.modules.get(name) or _loaded_from(os.path.join(os.path.dirname(_HERE), "tape.py"), name)


def _seed():
    given = os.environ.get("VERIFY_TAPE_SEED")
    return int(given) if given else None


def _random_loaded(random):
    if _seed() is not None:
        random.seed(_seed())


def _numpy_random_loaded(random):
    if _seed() is not None:
        random.seed(_seed() & 0xFFFFFFFF)


def _torch_loaded(torch):
    if _seed() is not None:
        torch.manual_seed(_seed() & 0x7FFFFFFFFFFFFFFF)
    _tape().begin(torch, os.environ["VERIFY_TAPE"])


_HOOKS = {"random": _random_loaded, "numpy.random": _numpy_random_loaded, "torch": _torch_loaded}


class _Finder:
    """Calls a function once, right after a module is executed."""

    def find_spec(self, name, path=None, target=None):
        hook = _HOOKS.pop(name, None)
        if hook is None:
            return None
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec = find(name, path, target) if find else None
            if spec is not None:
                break
        else:
            return None
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            hook(module)

        spec.loader.exec_module = exec_module
        return spec


def _run_the_next():
    """Run the `sitecustomize` that this one stands before."""
    others = [path for path in sys.path if os.path.abspath(path) != _HERE]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.origin:
        _loaded_from(spec.origin, "_next_sitecustomize")


if os.environ.get("VERIFY_TAPE"):
    for _name in [name for name in _HOOKS if name in sys.modules]:
        _HOOKS.pop(_name)(sys.modules[_name])
    sys.meta_path.insert(0, _Finder())
_run_the_next()
