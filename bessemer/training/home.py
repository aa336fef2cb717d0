"""A run whose home is a URL: what of it lies on object storage, and its folder on each node.

No two nodes need to share a file system. Checkpoints go to the URL and nowhere else. All other files are
written to a folder of the node, as they are where nodes share one, and put to the home: what the driver
writes when it is written; what the program saves before the next checkpoint counts, so that a worker that
goes on from it, on whichever node, finds the files again; logs when an attempt ends, as far as that works.

The list of the program's files is an object of its own, put after them. A node that has other files, from
an attempt that nobody goes on from, loses them: every restart finds the same.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from bessemer.errors import BessemerError, CheckpointError, StorageError
from bessemer.training.folders import (
    CHECKPOINTS_FOLDER,
    EVALUATION_FOLDER,
    LOCK_FILE,
    LOGS_FOLDER,
    POSITIONS_FOLDER,
    RAY_SNAPSHOT_FILE,
    RECORD_FILE,
    RESULT_FILE,
    SETTINGS_FILE,
)
from bessemer.training.lease import Claim, check_held
from bessemer.training.objects import Objects

# Hidden, so that no file of the program has its name.
FILES_LIST = ".files.json"
RECORDS = (SETTINGS_FILE, RECORD_FILE, RESULT_FILE)
_NOT_THE_PROGRAMS = {
    *(CHECKPOINTS_FOLDER, EVALUATION_FOLDER, LOCK_FILE, LOGS_FOLDER, POSITIONS_FOLDER),
    *(RAY_SNAPSHOT_FILE, *RECORDS),
}
_NODE_LOCK = ".home.lock"
_KEPT_FOLDER = ".kept"

Known = dict[str, tuple[int, str]]
"""Size in bytes and SHA-256 of files, by their names in the run's folder."""


def scratch_of(url: str) -> Path:
    """Return the folder of this node for what has its home under a URL; it may be emptied between runs.

    It is under `$XDG_CACHE_HOME`, or `~/.cache`. One URL has one folder, whatever the process.
    """
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    readable = re.sub(r"[^A-Za-z0-9.-]+", "-", url).strip("-")[:80]
    digest = hashlib.sha256(url.encode()).hexdigest()[:8]
    return root / "bessemer" / "runs" / f"{readable}-{digest}"


def folder_of(url: str) -> Path:
    """Return the folder of this node for a run, by the run's URL: STORAGE/PROJECT/RUN."""
    storage, project, run = url.rsplit("/", 2)
    return scratch_of(storage) / project / run


def is_of_program(name: str) -> bool:
    """Whether a file of a run's folder, by its name in it, is one that the program left.

    >>> [is_of_program(name) for name in ("out/model.pt", "logs/train.log", "out/.model.pt-7.part")]
    [True, False, False]
    """
    parts = PurePosixPath(name).parts
    return parts[0] not in _NOT_THE_PROGRAMS and not any(part.startswith(".") for part in parts)


def changes(now: Known, there: Known) -> tuple[list[str], list[str]]:
    """Return the names of files that differ from those that are there, or are not, and of those too many.

    >>> changes({"a": (1, "x"), "b": (1, "y")}, {"b": (1, "z"), "c": (2, "x")})
    (['a', 'b'], ['c'])
    """
    return (
        sorted(name for name in now if now[name] != there.get(name)),
        sorted(there.keys() - now.keys()),
    )


class Home:
    """A run at a URL, as one process sees it.

    Args:
        url: of the run.
        folder: of the run on this node.
        retry_s: for how long storage is tried again while it does not answer (seconds).
        claim: the lease of the driver that this acts for; without one nothing is put for the program.

    What concerns records and folders raises a StorageError if the storage cannot be used; what a worker
    calls while it trains, a CheckpointError: another attempt may find the storage well.
    """

    def __init__(self, url: str, folder: Path, retry_s: float = 0.0, claim: Claim | None = None) -> None:
        self.url = url
        self.folder = folder
        self.objects = Objects(url, retry_s)
        # What may be missing is not waited for.
        self._logs = Objects(url)
        self.checkpoints = f"{url}/{CHECKPOINTS_FOLDER}"
        self._claim = claim
        self._lock = threading.Lock()
        self._there: Known = {}
        self._listed: Known = {}
        self._hashed: dict[str, tuple[int, int, str]] = {}
        self._sent_logs: dict[str, tuple[int, int]] = {}

    # What the driver writes

    def send_record(self, name: str) -> None:
        """Put a small file of the run, such as its settings."""
        self.objects.send(self.folder / name, name)

    def fetch_records(self) -> None:
        """Have the run's settings, record and result in the folder as they are at home."""
        for name in RECORDS:
            self._fetch_or_remove(name)

    def send_folder(self, name: str, is_sent: Callable[[str], bool] = lambda _name: True) -> None:
        """Put a folder of the run in place of what is there of it.

        Args:
            name: of the folder.
            is_sent: says of a file, by its name in the run, whether it is put.
        """
        here = [file for file in _files_in(self.folder, name) if is_sent(file)]
        for file in here:
            self.objects.send(self.folder / file, file)
        for gone in self.objects.list(name).keys() - set(here):
            self.objects.remove(gone)

    def fetch_folder(self, name: str) -> None:
        """Have a folder of the run as it is at home."""
        there = self.objects.list(name)
        for file in there:
            self.objects.fetch(file, self.folder / file)
        for file in _files_in(self.folder, name):
            if file not in there:
                (self.folder / file).unlink(missing_ok=True)

    # What the program saves

    def send(self) -> None:
        """Put what the program has written since the last time, and then the list of its files.

        Raises:
            CheckpointError: another driver has taken over the run.
        """
        if self._claim is not None:
            with _of_training():
                check_held(self.objects, self._claim)
        with self._lock, _of_training():
            here = {name: known for name, known in self._known_here() if known is not None}
            new, gone = changes(here, self._there)
            for name in new:
                # It may be written again meanwhile; then it is put again before the next checkpoint.
                with contextlib.suppress(FileNotFoundError):
                    self.objects.send(self.folder / name, name)
                    self._there[name] = here[name]
            if here != self._listed:
                self.objects.write(FILES_LIST, json.dumps(here, indent=1, sort_keys=True).encode())
                self._listed = here
            for name in gone:
                self.objects.remove(name)
                del self._there[name]

    def send_file(self, path: Path) -> str:
        """Put one file of the program now; returns its name in the run."""
        name = path.relative_to(self.folder).as_posix()
        with self._lock, _of_training():
            known = self._known(name)
            if known is not None and known != self._there.get(name):
                self.objects.send(path, name)
                self._there[name] = known
        return name

    def fetch_file(self, name: str, folder: Path | None = None) -> Path:
        """Write one file of the program, as it is at home, to the run's folder or to another."""
        target = (folder or self.folder) / name
        with _of_training():
            self.objects.fetch(name, target)
        return target

    def fetch_kept(self, name: str) -> Path:
        """Bring a file here that goes to MLflow, aside of the one that a worker of this node may write."""
        return self.fetch_file(name, self.folder / _KEPT_FOLDER)

    def close(self) -> None:
        """Remove what was brought here for MLflow."""
        shutil.rmtree(self.folder / _KEPT_FOLDER, ignore_errors=True)

    @property
    def node(self) -> str:
        """Tells this folder from those of other nodes."""
        return f"{socket.gethostname()}:{self.folder}"

    def fetch(self) -> None:
        """Have in the folder what the program had written before the newest checkpoint counted.

        A file that the program wrote again since may be the newer one, as it is in a folder of its own.
        """
        with _of_training(), _one_at_a_time(self.folder), self._lock:
            there = self._known_there()
            here = {name: known for name, known in self._known_here() if known is not None}
            missing, left_over = changes(there, here)
            for name in missing:
                self.objects.fetch(name, self.folder / name)
            for name in left_over:
                (self.folder / name).unlink(missing_ok=True)
            self._there, self._listed = dict(there), there

    # Logs

    def send_logs(self) -> None:
        """Put this node's logs, under its name; does without where that does not work."""
        node = socket.gethostname() or "node"
        with contextlib.suppress(BessemerError, OSError):
            for name in _files_in(self.folder, LOGS_FOLDER):
                about = (self.folder / name).stat()
                now = (about.st_mtime_ns, about.st_size)
                if self._sent_logs.get(name) != now:
                    inner = name.removeprefix(f"{LOGS_FOLDER}/")
                    self._logs.send(self.folder / name, f"{LOGS_FOLDER}/{node}/{inner}")
                    self._sent_logs[name] = now

    def _fetch_or_remove(self, name: str) -> None:
        if not self.objects.fetch(name, self.folder / name):
            (self.folder / name).unlink(missing_ok=True)

    def _known_there(self) -> Known:
        content = self.objects.read(FILES_LIST)
        if content is None:
            return {}
        try:
            return {name: (size, digest) for name, (size, digest) in json.loads(content).items()}
        except (ValueError, TypeError, AttributeError):
            raise StorageError(
                f"{self.url}/{FILES_LIST} is damaged",
                expected="the list of the files that the program saved",
                todo="remove it; what the program saved before its last checkpoint is not fetched then",
            ) from None

    def _known_here(self) -> Iterator[tuple[str, tuple[int, str] | None]]:
        for name in _files_in(self.folder, ""):
            if is_of_program(name):
                yield name, self._known(name)

    def _known(self, name: str) -> tuple[int, str] | None:
        """Return size and hash of a file; it is read again only if it was written again."""
        path = self.folder / name
        try:
            about = path.stat()
            hashed = self._hashed.get(name)
            if hashed is None or hashed[:2] != (about.st_mtime_ns, about.st_size):
                hashed = (about.st_mtime_ns, about.st_size, _sha256(path))
                self._hashed[name] = hashed
        except OSError:
            return None
        return hashed[1], hashed[2]


def _files_in(folder: Path, name: str) -> list[str]:
    """Return the files in a folder of a run's folder, by their names in the run."""
    found = []
    for place, folders, files in os.walk(folder / name):
        if Path(place) == folder:
            folders[:] = [inner for inner in folders if inner not in _NOT_THE_PROGRAMS]
        found += [Path(place, file).relative_to(folder).as_posix() for file in files]
    return sorted(found)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _of_training() -> Iterator[None]:
    """Make of an error of the storage one that ends an attempt, and no mistake of the user's."""
    try:
        yield
    except StorageError as error:
        raise CheckpointError(error.found, error.expected, error.todo) from None


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Let the workers of a node fetch one after the other: those that come later find everything there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / _NODE_LOCK, "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise StorageError(
            f"the folder {folder} on {socket.gethostname()} cannot be written: {error.strerror or error}",
            expected="a folder for files of runs on every node, beside their home at a URL",
            todo="set XDG_CACHE_HOME there to a folder with room",
        ) from error
