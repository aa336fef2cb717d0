"""Small data of each format, in several groups, whose row i can be told to be row i."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from torch.utils.data import Dataset

from bessemer.config.settings import Settings
from bessemer.data.sources import lines, tars, tokens
from bessemer.data.sources.base import Source
from bessemer.data.sources.opening import open_source

NUM_ROWS = 40
SMALL_GROUP_BYTES = 48


def declared(**source: Any) -> Settings:
    """Settings with one source, `train`."""
    # Other processes of a test stand elsewhere.
    data = {"source": "inline", "folder": str(Path("data").absolute()), "sources": {"train": source}}
    return Settings.model_validate({"data": data})


def opened(**source: Any) -> Source:
    found = open_source(declared(**source), "train")
    assert isinstance(found, Source)
    return found


def rows_of(source: Dataset[Any]) -> list[Any]:
    return [source[place] for place in range(len(source))]  # type: ignore[arg-type]


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def write_parquet(path: Path, columns: dict[str, Any], rows_per_group: int = 7) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=rows_per_group)


def picture(number: int, kind: str = "png") -> bytes:
    data = io.BytesIO()
    Image.fromarray(np.full((2, 3, 3), number, np.uint8)).save(data, kind)
    return data.getvalue()


def _parquet(folder: Path) -> dict[str, Any]:
    half = NUM_ROWS // 2
    for part, first in (("a", 0), ("b", half)):
        numbers = np.arange(first, first + half)
        write_parquet(folder / "rows" / f"{part}.parquet", {"n": numbers, "x": numbers.astype(np.float32)})
    return {"format": "parquet", "path": str(folder / "rows")}


def _csv(folder: Path) -> dict[str, Any]:
    text = "n,words\n" + "".join(f'{n},"two\nlines, {n}"\n' for n in range(NUM_ROWS))
    (folder / "rows.csv").write_text(text)
    return {"format": "csv", "path": str(folder / "rows.csv")}


def _jsonl(folder: Path) -> dict[str, Any]:
    text = "".join(json.dumps({"n": n, "xs": [n, n]}) + "\n" for n in range(NUM_ROWS))
    (folder / "rows.jsonl").write_text(text)
    return {"format": "jsonl", "path": str(folder / "rows.jsonl")}


def _images(folder: Path) -> dict[str, Any]:
    for n in range(NUM_ROWS):
        file = folder / "images" / f"class{n * 2 // NUM_ROWS}" / f"{n:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture(n))
    return {"format": "images", "path": str(folder / "images")}


def _text(folder: Path) -> dict[str, Any]:
    (folder / "rows.txt").write_text("".join(f"line {n}\n" for n in range(NUM_ROWS)))
    return {"format": "text", "path": str(folder / "rows.txt")}


def _tokens(folder: Path) -> dict[str, Any]:
    np.repeat(np.arange(NUM_ROWS + 1, dtype=np.uint16), 3)[: NUM_ROWS * 3 + 1].tofile(folder / "rows.bin")
    return {"format": "tokens", "path": str(folder / "rows.bin"), "length": 3}


def _tar(folder: Path) -> dict[str, Any]:
    members = [
        member
        for n in range(NUM_ROWS)
        for member in ((f"{n:03}.cls", str(n).encode()), (f"{n:03}.png", picture(n)))
    ]
    write_tar(folder / "a.tar", members[: NUM_ROWS // 2])
    write_tar(folder / "b.tar", members[NUM_ROWS // 2 :])
    return {"format": "tar", "path": str(folder / "*.tar")}


FORMATS: dict[str, tuple[Callable[[Path], dict[str, Any]], Callable[[Any], int]]] = {
    "parquet": (_parquet, lambda row: int(row["n"])),
    "csv": (_csv, lambda row: int(row["n"])),
    "jsonl": (_jsonl, lambda row: int(row["n"])),
    "images": (_images, lambda row: int(row["image"][0, 0, 0])),
    "text": (_text, lambda row: int(row["text"].removeprefix("line "))),
    "tokens": (_tokens, lambda row: int(row["input"][0])),
    "tar": (_tar, lambda row: int(row["cls"])),
}
"""By format: what writes its data and returns the declaration, and what tells a row's number."""


def make(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Write the data of a format so that they lie in several groups; return how they are declared."""
    for module in (lines, tokens, tars):
        monkeypatch.setattr(module, "GROUP_BYTES", SMALL_GROUP_BYTES)
    monkeypatch.chdir(folder)
    return FORMATS[name][0](folder)
