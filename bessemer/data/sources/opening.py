"""Opens the sources that settings declare, by name; what `run.source` calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from torch.utils.data import Dataset

from bessemer.config.data_settings import SourceSettings
from bessemer.config.project import resolve_function
from bessemer.config.settings import Settings
from bessemer.data.prepared.dataset import PreparedDataset
from bessemer.data.sources.base import Source
from bessemer.data.sources.images import ImagesSource
from bessemer.data.sources.parquet import ParquetSource
from bessemer.data.sources.records import CsvSource, JsonLinesSource
from bessemer.data.sources.tars import TarSource
from bessemer.data.sources.text import TextSource
from bessemer.data.sources.tokens import TokensSource
from bessemer.errors import BessemerError, UserError, nearest
from bessemer.utils.collectives import Group

Transform = Callable[[Any], Any]


def open_source(
    settings: Settings,
    name: str,
    search_path: Sequence[str] = (),
    transform: Transform | None = None,
) -> Dataset[Any]:
    """Open a source that `[data.sources.NAME]` declares.

    Args:
        settings: of the project.
        name: of the source.
        search_path: folders that go in front of `sys.path`, for format torch.
        transform: makes a sample of a row, on every access; None leaves rows as they are.

    Returns:
        A map-style data set; a `Source` for every format but torch.

    Raises:
        UserError: no source has this name, or there are no such data.
        DataError: the data cannot be read.
    """
    declared = settings.data.sources
    if name not in declared:
        known = ", ".join(sorted(declared)) or "none"
        raise UserError(
            f"settings declare no source {name!r}",
            expected=nearest(name, declared) or f"one of data.sources; known: {known}",
            todo=f'add [data.sources.{name}] with format = "..." and path = "..." to settings.toml',
        )
    chosen = declared[name]
    if chosen.format == "torch":
        dataset = _made(settings, name, chosen, search_path)
        return dataset if transform is None else Transformed(dataset, transform)
    source = _opened(chosen, name, Path(settings.data.folder))
    source.window_bytes = chosen.window_bytes
    source.transform = transform
    return source


def open_for_all(settings: Settings, name: str, group: Group, transform: Transform | None) -> Dataset[Any]:
    """Open a source once for all workers, so that they see the same files; called on every worker.

    Raises:
        UserError: as `open_source` does, on every worker.
        DataError: likewise.
    """
    chosen = settings.data.sources.get(name)
    if chosen is None or chosen.format == "torch":
        return open_source(settings, name, transform=transform)
    found: Source | BessemerError | None = None
    if group.rank == 0:
        try:
            found = cast(Source, open_source(settings, name))
        except BessemerError as error:
            found = error
    found = group.broadcast_object(found)
    if isinstance(found, BessemerError):
        raise found
    assert found is not None
    found.transform = transform
    return found


def _opened(chosen: SourceSettings, name: str, folder: Path) -> Source:
    path = chosen.path
    match chosen.format:
        case "parquet":
            return ParquetSource(path, chosen.columns, folder)
        case "csv":
            return CsvSource(path, chosen.columns, folder)
        case "jsonl":
            return JsonLinesSource(path, chosen.columns, folder)
        case "images":
            return ImagesSource(path, chosen.image_type)
        case "text":
            return TextSource(path, folder)
        case "tokens":
            return TokensSource(path, chosen.dtype, chosen.length, chosen.stride)
        case "tar":
            return TarSource(path, chosen.image_type, folder)
        case "prepared":
            return PreparedDataset(Path(path), chosen.split or name)
    raise AssertionError(chosen.format)


class Transformed(Dataset[Any]):
    """A data set whose samples go through a function.

    Args:
        dataset: map-style.
        transform: called with each sample.
    """

    def __init__(self, dataset: Dataset[Any], transform: Transform) -> None:
        self.dataset = dataset
        self.transform = transform

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Any:
        return self.transform(self.dataset[index])


def _made(settings: Settings, name: str, chosen: SourceSettings, search_path: Sequence[str]) -> Dataset[Any]:
    """Call the function that makes a torch data set."""
    if ":" not in chosen.path:
        raise UserError(
            f"data.sources.{name}.path is {chosen.path!r}",
            expected="package.module:function for format torch",
            todo="name the function that returns the data set; it is called with the settings",
        )
    dataset = resolve_function(chosen.path, list(search_path))(settings)
    if not (isinstance(dataset, Dataset) and hasattr(dataset, "__len__")):
        raise UserError(
            f"{chosen.path} returned {type(dataset).__name__}",
            expected="a map-style torch Dataset: with __len__ and __getitem__",
            todo="return one from it",
        )
    return dataset
