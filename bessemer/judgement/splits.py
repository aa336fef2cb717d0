"""Which data are judged by: those that the program judges itself on, or others that are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from torch.utils.data import Dataset

from bessemer.config.settings import Settings
from bessemer.data.loaders import Loader
from bessemer.data.sources.base import Source
from bessemer.data.sources.opening import open_source
from bessemer.errors import UserError, nearest
from bessemer.judgement.names import TRAINED


@dataclass(frozen=True)
class Split:
    """The data that are judged by.

    Attributes:
        name: what they are called; "" for each loader's own.
        only: the one loader that is looked at; None for all that the program does not train on.
        dataset: what is put behind the program's evaluation; None for what it has there.
    """

    name: str = ""
    only: int | None = None
    dataset: Dataset[Any] | None = None


def chosen_split(
    asked: str,
    names: Mapping[int, str],
    loaders: Mapping[int, Loader[Any]],
    trained: Set[int],
    settings: Settings,
    search_path: Sequence[str] = (),
) -> Split:
    """Find the data that somebody asked for.

    Args:
        asked: name or number of a loader, or name of a source; "" for what the program judges on.
        names: of the loaders, by number.
        loaders: by number.
        trained: numbers of those that the program trains on.
        settings: with the sources; one takes the transform that the program has for its own.
        search_path: folders in front of `sys.path`.

    Raises:
        UserError: there are no such data; says which there are.
    """
    if not asked:
        return Split()
    found = [number for number, name in names.items() if asked in (name, str(number))]
    if not found and asked == TRAINED:
        found = [number for number in trained if number in names]
    if len(found) == 1 and found[0] in loaders:
        (number,) = found
        if number in trained:
            return Split(asked, dataset=loaders[number].dataset)
        return Split(names[number], only=number)
    if asked in settings.data.sources:
        others = [loaders[number].dataset for number in sorted(loaders) if number not in trained]
        transform = next((data.transform for data in others if isinstance(data, Source)), None)
        return Split(asked, dataset=open_source(settings, asked, search_path, transform))
    known = [names[number] for number in sorted(names)] + sorted(settings.data.sources)
    raise UserError(
        f"there is no split {asked!r}" if not found else f"{asked!r} may be {len(found)} of the loaders",
        expected=(nearest(asked, known) + " " if nearest(asked, known) else "")
        + f"one of: {', '.join(known) or 'the program makes no loader before its outer loop'}",
        todo="name a loader of the program, its number, or a source of [data.sources]",
    )
