"""Kills the writing of a project at every single thing that it asks of the system, and says what was left.

Run as a program of its own, since it forks: `python -m conversion.killed_writes FOLDER exchange|rename`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from itertools import count
from pathlib import Path

from bessemer.conversion.writing import emission, merge_base, placing

PYPROJECT = b'[tool.bessemer]\nname = "p"\n'
FIRST = {"pyproject.toml": PYPROJECT, "p/a.py": b"a = 1\n\n\nb = 1\n", "p/b.py": b"b = 1\n", "p/c.py": b"\n"}
SECOND = {"pyproject.toml": PYPROJECT, "p/a.py": b"a = 1\n\n\nb = 2\n", "p/b.py": b"b = 2\n", "p/d.py": b"\n"}
OWN = {"p/mine.py": b"x = 1\n", "runs/first/log.txt": b"loss\n"}
EDITED = {"p/a.py": b"a = 3\n\n\nb = 1\n"}
MERGED = {**SECOND, "p/a.py": b"a = 3\n\n\nb = 2\n"}
_SEEN = ("open", "os.", "fcntl.", "ctypes.dlsym", "shutil.")


def old_project(out: Path) -> None:
    """Make a project that conversion wrote, and that somebody has changed since."""
    for name, content in {**FIRST, merge_base.FILE: merge_base.packed(FIRST), **OWN, **EDITED}.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(content)


def convert_again(out: Path) -> None:
    """Write what a second conversion of it writes."""
    emission.write(out, emission.merged(out, SECOND).files, SECOND)


def content_of(out: Path) -> dict[str, bytes]:
    """Return the content of every file of a folder."""
    return {x.relative_to(out).as_posix(): x.read_bytes() for x in sorted(out.rglob("*")) if x.is_file()}


def state_of(out: Path) -> str:
    """Say which project there is: the old one, the new one, or what differs from both."""
    old = {**FIRST, merge_base.FILE: merge_base.packed(FIRST), **OWN, **EDITED}
    new = {**MERGED, merge_base.FILE: merge_base.packed(SECOND), **OWN}
    found = content_of(out)
    return "old" if found == old else "new" if found == new else f"neither: {sorted(found)}"


def killed_at(out: Path, place: int) -> bool:
    """Convert in another process, which is killed at its n-th request; return whether it came that far."""
    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        assert status in (0, signal.SIGKILL), status
        return status != 0
    seen = count(1)

    def watch(event: str, _: object) -> None:
        if event.startswith(_SEEN) and next(seen) == place:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    try:
        convert_again(out)
        os._exit(0)
    finally:
        os._exit(1)


def main(area: Path, way: str) -> None:
    """Print, for each moment of a kill, the state there was, and the one there is after `settle`."""
    if way == "rename":
        placing._exchange = lambda first, second: False
    states = []
    for place in count(1):
        out = area / "p"
        shutil.rmtree(area, ignore_errors=True)
        old_project(out)
        if not killed_at(out, place):
            break
        left = state_of(out)
        placing.settle(out)
        states.append((left, state_of(out), sorted(x.name for x in area.iterdir())))
    print(json.dumps(states))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
