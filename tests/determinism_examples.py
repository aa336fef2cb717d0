"""Data sets whose samples are the same each time, and data sets of which that is not sure."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import os
import random
import time
from collections.abc import Callable
from random import gauss
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.random import beta
from PIL import Image, ImageOps
from torch import nn
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

CACHE: dict[int, Any] = {}
SCALE = 3.0
GENERATOR = np.random.default_rng(0)


class Base(Dataset[Any]):
    """Holds some numbers; what a sample is made of them is up to who derives from it."""

    def __init__(self, transform: Any = None) -> None:
        self.values = np.arange(6, dtype=np.float32)
        self.transform = transform
        self.generator = np.random.default_rng(0)
        self.count = 0
        self.words = ["a b", "c"]
        self.iterator = itertools.count()

    def __len__(self) -> int:
        return 6


class Plain(Base):
    def __getitem__(self, index: int) -> Any:
        x = torch.from_numpy(self.values[index : index + 1]) * SCALE
        if self.transform is not None:
            x = self.transform(x)
        return x, math.floor(float(self.values[index])), self.words[index % 2].split(" ")


class Normalise:
    def __init__(self, mean: float) -> None:
        self.mean = mean

    def __call__(self, x: Any) -> Any:
        return (x - self.mean).clamp(min=0.0)


class Compose:
    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def __call__(self, x: Any) -> Any:
        for part in self.parts:
            x = part(x)
        return x


class Jitter:
    def __call__(self, x: Any) -> Any:
        return x + torch.randn(1)


class SometimesJitter:
    """The draw is one call deeper, in a method."""

    def _amount(self) -> float:
        return random.random()

    def __call__(self, x: Any) -> Any:
        return x * self._amount()


class Pictures(Base):
    def __getitem__(self, index: int) -> Any:
        picture = Image.fromarray(np.full((4, 4), index, dtype=np.uint8))
        picture = ImageOps.mirror(picture.resize((2, 2))).convert("RGB")
        return F.pad(torch.from_numpy(np.array(picture)), (1, 1)), os.path.join("a", str(index))


class Local(Base):
    """Everything that it changes is its own."""

    def __getitem__(self, index: int) -> Any:
        found = []
        counts: dict[str, int] = {}
        for word in sorted(self.words):
            found.append(len(word))
            counts[word] = counts.get(word, 0) + 1
        with contextlib.suppress(KeyError):
            counts.pop("z")
        found[0] += index
        return found, counts


class ViaProperty(Base):
    @property
    def half(self) -> Any:
        return self.values / 2

    @staticmethod
    def twice(x: Any) -> Any:
        return 2 * x

    def __getitem__(self, index: int) -> Any:
        return self.twice(self.half[index])


class Derived(Plain):
    def __getitem__(self, index: int) -> Any:
        return super().__getitem__(index)[0]


class CountsItself(Base):
    def __getitem__(self, index: int) -> Any:
        self.count += 1
        return index + self.count


class FillsACache(Base):
    def __getitem__(self, index: int) -> Any:
        CACHE[index] = self.values[index]
        return CACHE[index]


class AppendsToItself(Base):
    def __getitem__(self, index: int) -> Any:
        self.words.append(str(index))
        return len(self.words)


class TakesTheNext(Base):
    def __getitem__(self, index: int) -> Any:
        return next(self.iterator)


class OwnGenerator(Base):
    def __getitem__(self, index: int) -> Any:
        return self.generator.gamma(2.0)


class GlobalGenerator(Base):
    def __getitem__(self, index: int) -> Any:
        return GENERATOR.gamma(2.0)


class Imported(Base):
    def __getitem__(self, index: int) -> Any:
        return beta(1, 2)


class FromRandom(Base):
    def __getitem__(self, index: int) -> Any:
        return gauss(0, 1)


class InTheBody(Base):
    def __getitem__(self, index: int) -> Any:
        from numpy import random as drawing

        return drawing.gamma(2.0)


class Clock(Base):
    def __getitem__(self, index: int) -> Any:
        return time.time()


class Environment(Base):
    def __getitem__(self, index: int) -> Any:
        return os.environ.get("USER")


class Inplace(Base):
    def __getitem__(self, index: int) -> Any:
        return torch.empty(3).uniform_()


class Dropout(Base):
    def __getitem__(self, index: int) -> Any:
        return F.dropout(torch.ones(4))


class ByName(Base):
    def __getitem__(self, index: int) -> Any:
        return getattr(torch, f"ra{'nd'}")(1)


class ByAWrittenName(Base):
    def __getitem__(self, index: int) -> Any:
        return getattr(self, "generator").gamma(2.0)  # noqa: B009 (that is the case)


class ADefault(Base):
    def __getitem__(self, index: int, generator: Any = GENERATOR) -> Any:
        return generator.gamma(2.0)


class InAComprehension(Base):
    def __getitem__(self, index: int) -> Any:
        return [random.random() for _ in range(2)]


class InAClosure(Base):
    def __getitem__(self, index: int) -> Any:
        def inner() -> float:
            return random.random()

        return inner()


def noisy(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args), random.random()

    return wrapper


class Decorated(Base):
    @noisy
    def __getitem__(self, index: int) -> Any:
        return index


class Cached(Base):
    @functools.lru_cache  # noqa: B019 (that is the case)
    def __getitem__(self, index: int) -> Any:
        return random.random()


class Evaluated(Base):
    def __getitem__(self, index: int) -> Any:
        return eval("random.random()")


class Handed(Base):
    """What it calls came through the constructor of an object."""

    def __getitem__(self, index: int) -> Any:
        return Compose(Jitter())(torch.ones(1))


class AModel(Base):
    def __init__(self) -> None:
        super().__init__(nn.Sequential(nn.Linear(1, 1), nn.Dropout(0.5)))

    def __getitem__(self, index: int) -> Any:
        return self.transform(torch.ones(1))


class Unknown(Base):
    """Its parts are of a class that is read nowhere else, and draw."""

    class Part:
        def load(self) -> float:
            return random.random()

    def __init__(self) -> None:
        super().__init__()
        self.parts = [self.Part()]

    def __getitem__(self, index: int) -> Any:
        part = self.parts[0]
        return part.load()


tensors = TensorDataset(torch.arange(6.0), torch.arange(6))
SURE: list[Dataset[Any]] = [
    Plain(),
    Plain(Normalise(0.5)),
    Plain(Compose(Normalise(0.5), lambda x: x * 2, torch.abs, functools.partial(torch.add, other=1.0))),
    Pictures(),
    Local(),
    ViaProperty(),
    Derived(Normalise(1.0)),
    tensors,
    Subset(Plain(), [1, 2]),
    ConcatDataset([tensors, Subset(Plain(Normalise(2.0)), [0])]),
]
UNSURE: list[Dataset[Any]] = [
    Plain(Jitter()),
    Plain(SometimesJitter()),
    Plain(Compose(Normalise(0.5), Jitter())),
    Plain(lambda x: x + random.random()),
    Plain(functools.partial(np.random.normal, 0.0)),
    Plain(np.random.permutation),
    Derived(Jitter()),
    Subset(Plain(Jitter()), [1, 2]),
    ConcatDataset([tensors, Plain(Jitter())]),
    *(CountsItself(), FillsACache(), AppendsToItself(), TakesTheNext(), OwnGenerator(), GlobalGenerator()),
    *(Imported(), FromRandom(), InTheBody(), Clock(), Environment(), Inplace(), Dropout(), ByName()),
    *(ByAWrittenName(), ADefault(), InAComprehension(), InAClosure(), Decorated(), Cached(), Evaluated()),
    *(Handed(), AModel(), Unknown()),
]
