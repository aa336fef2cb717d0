"""Files that one process has at a time."""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path

from bessemer.utils.files import locked


def test_who_looks_at_a_lock_for_a_moment_does_not_keep_its_owner_out(tmp_path: Path) -> None:
    with open(tmp_path / "lock", "a+b") as mine, open(tmp_path / "lock", "a+b") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH | fcntl.LOCK_NB)
        timer = threading.Timer(0.02, looking.close)
        timer.start()
        assert locked(mine)
        timer.join()


def test_a_file_that_another_has_is_not_locked(tmp_path: Path) -> None:
    with open(tmp_path / "lock", "a+b") as mine, open(tmp_path / "lock", "a+b") as theirs:
        assert locked(theirs)
        assert not locked(mine)
