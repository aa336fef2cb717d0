"""A file that is not whole yet: bytes beside the target, and a note of whose bytes they are.

Both have names that the next process finds, so that a download that was killed is gone on with. The note is
written before the first byte: bytes without one are of no use, and are never taken for a file.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from bessemer.data.downloads.addresses import digest_of
from bessemer.data.downloads.remote import BLOCK_BYTES


@dataclass(frozen=True)
class Origin:
    """Where the bytes of a part came from.

    Attributes:
        address_sha256: tells the address; the address itself may hold a password.
        validator: what the place said of the content; "" for nothing.
        num_bytes: size of the whole file; None if the place did not say.
    """

    address_sha256: str
    validator: str = ""
    num_bytes: int | None = None


class Part:
    """The unfinished file of a target; whoever has one must hold the target's lock.

    Args:
        target: the file that it becomes.

    Raises:
        OSError: its folder cannot be written; so do its methods.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self.path = target.with_name(f".{target.name}.part")
        self._note = target.with_name(f".{target.name}.part.json")
        self.origin: Origin | None = self._noted()
        self._file: BinaryIO = self.path.open("ab")
        self.num_bytes = self._file.tell()
        self._digest = hashlib.sha256()
        if self.origin is None:
            self._emptied()
        else:
            self._digest = _digest_of_start(self.path)

    @property
    def sha256(self) -> str:
        """SHA-256 of what is here (hex)."""
        return self._digest.hexdigest()

    @property
    def is_whole(self) -> bool:
        """Whether as many bytes are here as the place has."""
        return self.origin is not None and self.origin.num_bytes == self.num_bytes

    def is_of(self, address: str) -> bool:
        """Tell whether the bytes came from an address."""
        return self.origin is not None and self.origin.address_sha256 == digest_of(address)

    def begin(self, origin: Origin) -> None:
        """Throw away what is here, and note where the next bytes come from."""
        self._emptied()
        new = self._note.with_name(f"{self._note.name}.new")
        new.write_text(json.dumps(asdict(origin)), encoding="utf-8")
        new.replace(self._note)
        self.origin = origin

    def append(self, block: bytes) -> None:
        """Add bytes at the end."""
        self._file.write(block)
        self._digest.update(block)
        self.num_bytes += len(block)

    def finish(self) -> None:
        """Make it the target, in one step, on the disk before it has the name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self.path.replace(self._target)
        self._note.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove it."""
        self._file.close()
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def close(self, is_sure: bool) -> None:
        """Leave it for the next process, unless that could not go on with it.

        Args:
            is_sure: whether a checksum will tell whether the parts belong together.
        """
        self._file.close()
        if not self.num_bytes or self.origin is None or not (self.origin.validator or is_sure):
            self.discard()

    def _emptied(self) -> None:
        self.origin = None
        self._note.unlink(missing_ok=True)
        self._file.truncate(0)
        self._file.seek(0)
        self.num_bytes = 0
        self._digest = hashlib.sha256()

    def _noted(self) -> Origin | None:
        try:
            origin = Origin(**json.loads(self._note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        size = origin.num_bytes
        is_one = isinstance(origin.address_sha256, str) and isinstance(origin.validator, str)
        return origin if is_one and (size is None or isinstance(size, int)) else None


def _digest_of_start(file: Path) -> hashlib._Hash:
    with file.open("rb") as content:
        digest = hashlib.sha256()
        while block := content.read(BLOCK_BYTES):
            digest.update(block)
    return digest
