"""Tar files as a source, as WebDataset writes them.

Members that share a name, up to its first dot, are a sample. A row has the sample's name as `__key__` and
a field for each member, named after what follows the dot: pictures as arrays, `.cls` as int, `.json` as
what it says, `.txt` as str, `.npy` as array, anything else as bytes.

The headers are read once; after that a group of neighbouring samples is read in one piece.
"""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from bessemer.data.sources.base import LazyRows, Row, Source
from bessemer.data.sources.files import File, find_files, fingerprint_of
from bessemer.data.sources.index import Index, indexed
from bessemer.data.sources.pictures import SUFFIXES, ImageType, decode_picture
from bessemer.errors import DataError, UserError

GROUP_BYTES = 4 * 2**20
KEY = "__key__"


class TarSource(Source):
    """Samples of tar files, in the order that they lie in them.

    Args:
        path: file, folder or pattern.
        image_type: what a picture becomes: an array, uint8 [height, width, 3], or an image of Pillow.
        folder: `data.folder`, where indexes are kept; None to keep none.

    Raises:
        UserError: there is no file, or one that is compressed, or no sample.
        DataError: a file is no tar file, or a sample's members do not lie together.
    """

    def __init__(self, path: str, image_type: ImageType = "array", folder: Path | None = None) -> None:
        self._files = find_files(path, (".tar", ".tar.gz", ".tgz"))
        self._image_type = image_type
        for file in self._files:
            if file.name.lower().endswith((".gz", ".tgz", ".bz2", ".xz", ".zst")):
                raise UserError(
                    f"{file.path} is compressed",
                    expected="a plain .tar, of which a part can be read",
                    todo=f"unpack it once: gunzip {file.name}",
                )
        self._indexes = [indexed(folder, file, f"tar {GROUP_BYTES}", _index) for file in self._files]
        self._first_groups = [0, *accumulate(len(index["groups"]) - 1 for index in self._indexes)]
        self._sizes = tuple(int(size) for index in self._indexes for size in np.diff(index["groups"]))
        if not sum(self._sizes):
            raise UserError(f"{path} has no samples", expected="files such as 000.jpg and 000.cls in it")

    @property
    def group_sizes(self) -> tuple[int, ...]:
        """Samples of each group (count)."""
        return self._sizes

    @property
    def group_bytes(self) -> int:
        """Size of the largest group as it lies in its file (bytes); it is decoded sample by sample."""
        return max(1, max(int(_spans(index).max(initial=1)) for index in self._indexes))

    def fingerprint(self) -> str:
        """Hash names, sizes and tags of the files."""
        return fingerprint_of(self._files, self._image_type)

    def read_group(self, number: int) -> Sequence[Row]:
        """Read the bytes of a group."""
        place = bisect_right(self._first_groups, number) - 1
        file, index = self._files[place], self._indexes[place]
        first, last = index["groups"][number - self._first_groups[place] :][:2].tolist()
        start, stop = int(index["starts"][first]), int(index["stops"][last - 1])
        return _Samples(file, file.read(start, stop), last - first, self._image_type)


class _Samples(LazyRows):
    """The samples of a part of a tar file, decoded when they are asked for."""

    def __init__(self, file: File, data: bytes, count: int, image_type: ImageType) -> None:
        self._file, self._data, self._image_type = file, data, image_type
        self._members: list[tuple[str, list[tuple[str, int, int]]]] = []
        end = b"\0" * (-len(data) % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)
        with _opened(file, io.BytesIO(data + end)) as tar:
            for member in tar:
                key, field = _split(member)
                if not key:
                    continue
                if not self._members or self._members[-1][0] != key:
                    self._members.append((key, []))
                self._members[-1][1].append((field, member.offset_data, member.size))
        if len(self._members) != count:
            raise DataError(
                f"{file.path} has {len(self._members)} samples where {count} were found before",
                expected="the file as it was",
                todo="start again when nothing writes to it",
            )

    def __len__(self) -> int:
        return len(self._members)

    def row(self, place: int) -> Row:
        key, members = self._members[place]
        row: Row = {KEY: key}
        for field, start, size in members:
            name = f"{self._file.path}: {key}.{field}"
            row[field] = _decoded(self._data[start : start + size], field, name, self._image_type)
        return row


def _index(file: File) -> Index:
    """Read all headers of a file.

    Returns:
        Of each sample its first byte and the byte behind it, and of each group its first sample, and the end.
    """
    starts: list[int] = []
    stops: list[int] = []
    fields: set[str] = set()
    seen: set[str] = set()
    groups = [0]
    last = ""
    with file.open() as opened, _opened(file, opened) as tar:
        for member in tar:
            key, field = _split(member)
            if not key:
                continue
            if key != last:
                if key in seen:
                    raise _apart(file, key)
                if starts and stops[-1] - starts[groups[-1]] >= GROUP_BYTES:
                    groups.append(len(starts))
                last, fields = key, set()
                seen.add(key)
                starts.append(member.offset)
                stops.append(0)
            if field in fields:
                raise DataError(
                    f"{file.path} has {key}.{field} twice", expected="each field of a sample once"
                )
            fields.add(field)
            stops[-1] = member.offset_data + member.size
            if stops[-1] > file.num_bytes:
                raise _damaged(file, f"it ends in the middle of {member.name}")
        _check_end(file, tar, opened)
    bounds = [*groups, len(starts)] if starts else [0]
    return {
        name: np.asarray(x, np.int64)
        for name, x in (("starts", starts), ("stops", stops), ("groups", bounds))
    }


def _spans(index: Index) -> np.ndarray[Any, Any]:
    bounds = index["groups"]
    return index["stops"][bounds[1:] - 1] - index["starts"][bounds[:-1]]


def _split(member: tarfile.TarInfo) -> tuple[str, str]:
    """Return the sample and the field that a member belongs to; no sample for folders and hidden files."""
    folder, slash, name = member.name.rpartition("/")
    stem, dot, field = name.partition(".")
    if not member.isreg() or not stem or not dot:
        return "", ""
    return folder + slash + stem, field.lower()


@contextlib.contextmanager
def _opened(file: File, stream: Any) -> Iterator[tarfile.TarFile]:
    """Open a tar file; what is wrong with it becomes a `DataError`."""
    try:
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            yield tar
    except tarfile.TarError as error:
        raise _damaged(file, str(error)) from error


def _check_end(file: File, tar: tarfile.TarFile, stream: Any) -> None:
    """Refuse a file in which headers end before the data do: `tarfile` takes a damaged one for the end."""
    stream.seek(tar.offset)
    if stream.read(tarfile.BLOCKSIZE).strip(b"\0"):
        raise _damaged(file, f"no header at byte {tar.offset:,}")


def _damaged(file: File, reason: str) -> DataError:
    return DataError(
        f"{file.path} is no tar file that can be read: {reason}",
        expected="a whole, uncompressed tar file",
        todo="download or write it again",
    )


def _apart(file: File, key: str) -> DataError:
    return DataError(
        f"{file.path} has members of {key} in two places",
        expected="the members of a sample one behind the other",
        todo="write it again, sorted: tar --sort=name -cf FILE FOLDER",
    )


def _decoded(data: bytes, field: str, name: str, image_type: ImageType) -> Any:
    kind = field.rpartition(".")[2]
    if f".{kind}" in SUFFIXES:
        return decode_picture(data, image_type, name)
    try:
        if kind == "cls":
            return int(data)
        if kind == "json":
            return json.loads(data)
        if kind in ("txt", "text"):
            return data.decode("utf-8")
        if kind == "npy":
            return np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(
            f"{name} cannot be decoded: {str(error).splitlines()[0]}",
            expected=f"what files named .{kind} hold",
            todo="write it again, or leave it out",
        ) from error
    return data
