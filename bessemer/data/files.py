"""Files in the folder of the data: written whole, with an error that says what to do."""

from __future__ import annotations

from pathlib import Path

from bessemer.errors import DataError
from bessemer.utils.files import write_whole


def put_file(path: Path, data: bytes | memoryview) -> None:
    """Write a file in one step; its folder is made.

    It is not forced to the disk, which takes longer than writing: who must be sure checks a hash.

    Raises:
        DataError: it cannot be written.
    """
    try:
        write_whole(path, lambda part: part.write_bytes(data))
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}",
            expected="a folder with write permission and room in it",
            todo="free some room, or set data.folder to another place",
        ) from error
