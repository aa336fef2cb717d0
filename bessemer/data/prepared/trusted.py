"""What the proof of determinism takes for granted: libraries, names and values that draw nothing."""

from __future__ import annotations

import io
import random
import re
import types
from pathlib import Path, PurePath

import numpy as np
import torch
from PIL import Image

# Packages whose functions give the same for the same, but for those that `draws` names.
TRUSTED = frozenset(
    """PIL abc array io ast base64 bisect builtins codecs collections contextlib copy csv cv2 dataclasses
    decimal enum fractions functools genericpath glob gzip h5py hashlib heapq itertools json lzma math
    numbers numpy operator pathlib pickle posixpath ntpath pyarrow re scipy statistics string
    struct tarfile textwrap torch types typing unicodedata warnings zipfile zlib collections_abc pandas
    os""".split()  # noqa: SIM905
)
# Packages that draw, ask the clock or the network, or run things side by side.
REFUSED = frozenset(
    """random secrets time uuid datetime threading multiprocessing subprocess socket urllib requests asyncio
    concurrent sys ctypes gc importlib inspect signal select faulthandler tempfile platform getpass""".split()  # noqa: SIM905
)
# Of the module os: what depends on its arguments and the files alone.
OS_FINE = frozenset(["path", "sep", "linesep", "fspath", "stat", "listdir", "PathLike"])
# Functions and methods that draw, seed, or ask the clock, whatever they belong to.
_DRAWS = frozenset(
    """alpha_dropout bernoulli bernoulli_ binomial cauchy_ choice choices default_rng dropout dropout1d
    dropout2d dropout3d effect_noise exponential_ feature_alpha_dropout geometric_ get_state getrandbits
    gumbel_softmax initial_seed integers log_normal_ manual_seed multinomial normal normal_ now permutation
    permuted poisson rand rand_like randbytes randint randint_like randn randn_like random random_
    random_sample randperm randrange rrelu rrelu_ rsample rvs sample seed set_state shuffle standard_normal
    today trunc_normal_ uniform uniform_ urandom""".split()  # noqa: SIM905
)
REFUSED_BUILTINS = frozenset(
    """eval exec compile globals locals vars input id hash setattr delattr breakpoint __import__""".split()  # noqa: SIM905
)
# Methods that change what they are called of.
CHANGES = frozenset(
    """add append appendleft clear discard extend extendleft fill insert pop popitem popleft put remove
    reverse rotate setdefault sort update write writelines seek""".split()  # noqa: SIM905
)
GENERATORS = (
    random.Random,
    np.random.Generator,
    np.random.RandomState,
    np.random.BitGenerator,
    torch.Generator,
)
# Values that hold nothing that could be called.
PLAIN = (
    *(type(None), bool, int, float, complex, str, bytes, bytearray, slice, range, types.EllipsisType),
    *(np.generic, np.dtype, torch.Tensor, torch.dtype, torch.device),
    *(PurePath, re.Pattern, Image.Image, io.IOBase),
)
# Methods that values of unknown origin may have: those of what a sample is commonly made of.
KNOWN_METHODS = frozenset(
    name
    for kind in (
        *(str, bytes, bytearray, list, tuple, dict, set, int, float, complex, slice, types.GeneratorType),
        *(np.ndarray, np.generic, np.dtype, torch.Tensor, torch.dtype, torch.Size),
        *(Path, re.Pattern, re.Match, Image.Image, io.BytesIO, io.TextIOWrapper),
    )
    for name in dir(kind)
)
# Parts of trusted libraries that call what they are given: they are read like any other code.
_READ = ("torch.utils.data",)


def is_read(module: str) -> bool:
    """Whether the code of a module is read though its package is trusted."""
    return module.startswith(_READ)


def draws(name: str) -> bool:
    """Whether a function or method of a trusted library may draw, by its name."""
    return name in _DRAWS or "random" in name or name.startswith("rand")


def is_random(module: str) -> bool:
    """Whether a module is there to draw."""
    return not {"random", "distributions"}.isdisjoint(module.split("."))
