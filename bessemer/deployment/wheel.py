"""Bessemer's own wheel, made from what is installed, for an image and for a project that stands alone.

No package index has a version that was changed here, and a project must go on with the one that it was
verified with. The same installation gives the same bytes. Run as a module: `python -m
bessemer.deployment.wheel FOLDER`. Format: https://packaging.python.org/specifications/binary-distribution-format
"""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.metadata
import io
import sys
import zipfile
from pathlib import Path

_NAME = "bessemer"
_TAG = "py3-none-any"
# The earliest that a ZIP archive can name: the time of making must not show in the bytes.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644 << 16
_WHEEL = f"Wheel-Version: 1.0\nGenerator: bessemer\nRoot-Is-Purelib: true\nTag: {_TAG}\n"


def wheel_name(version: str = "") -> str:
    """Return the file name of the wheel of a version, by default the installed one.

    >>> wheel_name("0.1.0")
    'bessemer-0.1.0-py3-none-any.whl'
    """
    return f"{_NAME}-{version or importlib.metadata.version(_NAME)}-{_TAG}.whl"


@functools.cache
def wheel_bytes() -> bytes:
    """Return the wheel of the installed Bessemer, as it was when this process first asked."""
    distribution = importlib.metadata.distribution(_NAME)
    package = Path(__file__).resolve().parents[1]
    files = {
        f"{_NAME}/{path.relative_to(package).as_posix()}": path.read_bytes()
        for path in sorted(package.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    info = f"{_NAME}-{distribution.version}.dist-info"
    for name in ("METADATA", "entry_points.txt"):
        files[f"{info}/{name}"] = (distribution.read_text(name) or "").encode()
    files[f"{info}/WHEEL"] = _WHEEL.encode()
    record = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = _MODE
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return made.getvalue()


def write_wheel(folder: Path) -> Path:
    """Write the wheel into a folder, in place of others of Bessemer; one that is the same is left alone.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target, content = folder / wheel_name(), wheel_bytes()
    for other in folder.glob(f"{_NAME}-*.whl"):
        if other != target:
            other.unlink()
    if not target.exists() or target.read_bytes() != content:
        target.write_bytes(content)
    return target


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


if __name__ == "__main__":
    print(write_wheel(Path(sys.argv[1])))
