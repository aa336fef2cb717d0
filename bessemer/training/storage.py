"""Where runs are, and what of a run is known before and after it: `checkpoint.storage_path` in use.

That is a folder which all nodes reach, or a URL of object storage. A run at a URL has a folder on this
machine too, which everything else is handed; a file at the top of those folders says which URL is theirs.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bessemer.config.settings import Settings
from bessemer.errors import SettingsError, StorageError
from bessemer.tracking import TrackedRun, sign_in, tracking_uri
from bessemer.training.folders import (
    CHECKPOINTS_FOLDER,
    LOCK_FILE,
    RECORD_FILE,
    RESULT_FILE,
    SETTINGS_FILE,
)
from bessemer.training.home import Home, scratch_of
from bessemer.training.lease import Claim, take_lease
from bessemer.training.objects import Entry, Objects
from bessemer.training.urls import checked_url, is_url
from bessemer.utils.files import locked, write_whole

if TYPE_CHECKING:
    from bessemer.training.checkpoints import CheckpointStore

_PROBE_BYTES = 64 * 1024
_URL_FILE = ".url"
# The folder of all runs, of a project, of a run, and of what is inside of a run.
_NUM_LEVELS = 5


class Held(Protocol):
    """What keeps a run from other drivers, until it is closed."""

    def close(self) -> None:
        """Let others drive the run."""


def storage_folder(settings: Settings, is_known: bool = False) -> Path:
    """Return the folder of all runs on this machine, made if it is not there.

    Args:
        settings: say where runs are.
        is_known: whether it was seen to be writable before.

    Raises:
        SettingsError: runs cannot be kept at such a URL.
        StorageError: it cannot be made or written.
    """
    configured = settings.checkpoint.storage_path
    if is_url(configured):
        return _scratch_folder(checked_url(configured), is_known)
    storage = Path(configured).expanduser().absolute()
    if is_known:
        return storage
    probe = storage / f".probe-{secrets.token_hex(4)}"
    try:
        storage.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"x" * _PROBE_BYTES)
    except OSError as error:
        raise StorageError(
            f"the storage folder {storage} cannot be written: {error.strerror or error}",
            expected="a folder with write permission and room for checkpoints",
            todo="set --checkpoint.storage-path to another folder, or free some room",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
    return storage


def _scratch_folder(url: str, is_known: bool) -> Path:
    if not is_known:
        Objects(url).check()
    scratch = scratch_of(url)
    try:
        write_whole(scratch / _URL_FILE, lambda part: part.write_text(url, encoding="utf-8"))
    except OSError as error:
        raise StorageError(
            f"the folder {scratch} cannot be written: {error.strerror or error}",
            expected=f"a folder on this machine for files of the runs at {url}",
            todo="set XDG_CACHE_HOME to a folder with write permission and room",
        ) from error
    return scratch


def shared_folder(settings: Settings, what: str, is_known: bool = False) -> Path:
    """Return the folder of all runs for what keeps more there than runs.

    Args:
        settings: say where it is.
        what: needs it, such as "a search".
        is_known: whether it was seen to be writable before.

    Raises:
        SettingsError: it is a URL.
        StorageError: it cannot be made or written.
    """
    configured = settings.checkpoint.storage_path
    if is_url(configured):
        raise SettingsError(
            f"checkpoint.storage_path = {checked_url(configured)!r} is a URL",
            expected=f"a folder that every node can reach: {what} keeps files there that are appended to",
            todo="set --checkpoint.storage-path to such a folder; single runs can be kept at a URL",
        )
    return storage_folder(settings, is_known)


def tracking_of(settings: Settings, storage: Path) -> str:
    """Return where MLflow records runs; `storage`: their folder.

    Raises:
        TrackingError: it is a file store, nobody says where it is and runs are at a URL, or the file with
            its password cannot be read.
    """
    sign_in(settings.tracking)
    return tracking_uri(settings.tracking.uri, None if url_of(storage) else storage)


def artifacts_of(uri: str, storage: Path) -> Path:
    """Return under which folder MLflow keeps files if it is a SQLite file: never one that may be emptied.

    Args:
        uri: of the tracking store.
        storage: folder of all runs.
    """
    return Path(uri.removeprefix("sqlite:///")).parent if url_of(storage) else storage


def url_of(folder: Path) -> str:
    """Return the URL that a folder of this machine stands for; "" if it stands for itself."""
    for place in [folder, *folder.parents][:_NUM_LEVELS]:
        file = place / _URL_FILE
        if file.is_file():
            inner = folder.relative_to(place).as_posix()
            url = file.read_text(encoding="utf-8")
            return url if inner == "." else f"{url}/{inner}"
    return ""


def home_of(run_dir: Path, retry_s: float = 0.0, claim: Claim | None = None) -> Home | None:
    """Return the home of a run at a URL, or None of one whose folder is all there is.

    Args:
        run_dir: folder of the run.
        retry_s: for how long storage is tried again while it does not answer (seconds).
        claim: the lease of the driver that this acts for.
    """
    url = url_of(run_dir)
    return Home(url, run_dir, retry_s, claim) if url else None


def place_of(run_dir: Path) -> str:
    """Return where a run is, as it is told: its URL or its folder."""
    return url_of(run_dir) or str(run_dir)


def runs_at_home(folder: Path) -> dict[str, dict[str, Entry]] | None:
    """Return the objects of each run of a project at a URL; None if the folder stands for itself.

    Args:
        folder: of the project.

    Returns:
        For each run, by its name, what is known of its objects, by their names in it; the run whose
        settings were written last comes last.
    """
    url = url_of(folder)
    if not url:
        return None
    runs: dict[str, dict[str, Entry]] = {}
    for name, entry in Objects(url).list().items():
        run, slash, inner = name.partition("/")
        if slash:
            runs.setdefault(run, {})[inner] = entry

    def written_at(run: str) -> tuple[float, str]:
        entry = runs[run].get(SETTINGS_FILE)
        return (entry.modified_at or 0.0) if entry is not None else 0.0, run

    return {run: runs[run] for run in sorted(runs, key=written_at)}


def make_run_dir(storage: Path, project: str, name: str = "") -> Path:
    """Make the folder of a new run; its name is the time and four random digits unless given.

    A folder in which a run was begun and never recorded holds nothing, and is taken over.

    Raises:
        StorageError: a run of that name exists.
    """
    name = name or f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    run_dir = storage / project / name
    url = url_of(storage)
    if url:
        if "/" in name or "/" in project:
            raise StorageError(
                f"a run at a URL cannot be called {project}/{name}", expected="names without a slash"
            )
        if RECORD_FILE in Objects(f"{url}/{project}/{name}").list():
            raise _name_taken(project, name, f"{url}/{project}/{name}")
        # What an earlier run of that name has left on this machine is none of its.
        shutil.rmtree(run_dir, ignore_errors=True)
    try:
        run_dir.mkdir(parents=True)
    except FileExistsError:
        # Checkpoints come after the record; two drivers that begin at once are kept apart by the lock.
        if not run_dir.is_dir() or any((run_dir / x).exists() for x in (RECORD_FILE, CHECKPOINTS_FOLDER)):
            raise _name_taken(project, name, str(run_dir)) from None
    return run_dir


def _name_taken(project: str, name: str, place: str) -> StorageError:
    return StorageError(
        f"there is a run {name} of {project} already: {place}",
        expected="a name that is not taken",
        todo="choose another tracking.run_name, or leave it empty",
    )


def only_driver(run_dir: Path, tell: Callable[[str], None] = lambda _text: None) -> Held:
    """Make sure that no other process drives a run; returns what holds it, until it is closed.

    Args:
        run_dir: folder of the run.
        tell: told how long it waits for the lease of a driver that died.

    Raises:
        StorageError: another driver trains this run.
    """
    url = url_of(run_dir)
    if url:
        return take_lease(Objects(url), run_dir.name, tell)
    lock = open(run_dir / LOCK_FILE, "a+", encoding="utf-8")  # noqa: SIM115 (held as long as the run)
    # `bessemer status` holds it for a moment when it looks.
    if not locked(lock):
        lock.close()
        raise StorageError(
            f"the run {run_dir.name} is being trained by another process",
            expected="one driver of a run at a time",
            todo="wait until it ends, or stop it",
        )
    return lock


def write_record(run_dir: Path, name: str, text: str, retry_s: float = 0.0) -> None:
    """Write a text of a run whole, also to its home: a kill in the middle must not leave an empty file."""
    write_whole(run_dir / name, lambda part: part.write_text(text, encoding="utf-8"))
    home = home_of(run_dir, retry_s)
    if home is not None:
        home.send_record(name)


def record_run(run_dir: Path, tracked: TrackedRun) -> None:
    """Write down beside a run's checkpoints where it is tracked."""
    write_record(run_dir, RECORD_FILE, json.dumps(asdict(tracked), indent=2) + "\n")


def recorded_run(run_dir: Path) -> TrackedRun | None:
    """Return where a run is tracked, if that was written down."""
    file = run_dir / RECORD_FILE
    return TrackedRun(**json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def is_complete(run_dir: Path) -> bool:
    """Whether a run has come to its end."""
    return (run_dir / RESULT_FILE).is_file()


def checkpoints_of(run_dir: Path, settings: Settings) -> CheckpointStore:
    """Return the checkpoints of a run, for reading."""
    from bessemer.training.checkpoints import CheckpointStore, comparison

    checkpoint = settings.checkpoint
    url = url_of(run_dir)
    return CheckpointStore(
        f"{url}/{CHECKPOINTS_FOLDER}" if url else str(run_dir / CHECKPOINTS_FOLDER),
        checkpoint.keep,
        comparison(checkpoint.best_metric, checkpoint.best_mode),
    )
