"""Checkpoints on storage: written whole or not at all, verified when they are read.

A checkpoint is a folder `step-<number>` with `state.pt` and, written last, `manifest.json`, which
has the size and SHA-256 of the state. A folder without a manifest was cut off and does not count; a
state whose hash differs is passed over for the checkpoint before it. Only the main worker writes,
from a thread of its own, after the tensors were copied; every worker reads.

On object storage a manifest is put in one piece. Its state has a name of its own there, which it names:
a worker on a lost node that goes on writing for a while cannot write over that of the one after it.
"""

from __future__ import annotations

import hashlib
import io
import json
import operator
import pickle  # nosec B403  # for the name of an error
import re
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import IO, Any, cast

import fsspec
import numpy as np
import torch

from bessemer.errors import BessemerError, CheckpointError, StorageError
from bessemer.training.copies import Copies, revived
from bessemer.training.objects import Patient
from bessemer.training.urls import is_url, patiently, without_credentials
from bessemer.utils.events import CheckpointSaved

FORMAT = 5
_STATE = "state.pt"
_MANIFEST = "manifest.json"
# Several checkpoints of one step are told apart by a number at the end.
_FOLDER = re.compile(r"step-(\d{10,})(?:-(\d+))?")
# What schedulers and carried values use beside numbers and tensors; none of it runs code: containers of
# the standard library, and NumPy's arrays and numbers, without those of Python objects.
_SAFE: list[Any] = [
    *(Counter, OrderedDict, set),
    *(np.ndarray, np.dtype, np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0]),
    *(type(np.dtype(x)) for x in np.typecodes["All"] if x not in "OV"),
]

State = dict[str, Any]


@dataclass(frozen=True)
class Saved:
    """A complete checkpoint on storage.

    Attributes:
        path: its folder.
        step: optimizer steps that were taken (count).
        sha256: hash of its state.
        metric: value of checkpoint.best_metric when it was taken, or None.
        identity: what the run was made of when it was taken.
        file: name of its state in the folder.
    """

    path: str
    step: int
    sha256: str
    metric: float | None
    identity: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    file: str = field(default=_STATE, compare=False, repr=False)


class CheckpointStore:
    """The checkpoints of one run.

    Args:
        url: folder, a path or any fsspec URL.
        keep: newest checkpoints that are kept (count).
        better: whether a first metric is better than a second, or None to keep no best one.
        note: told a sentence when something is out of the ordinary.
        identity: what the run is made of, by name; every checkpoint carries it.
        saved: told of each checkpoint that is whole, in the thread that wrote it.
        retry_s: for how long storage at a URL is tried again while it does not answer (seconds).
    """

    def __init__(
        self,
        url: str,
        keep: int,
        better: Callable[[float, float], bool] | None = None,
        note: Callable[[str], None] = lambda _text: None,
        identity: Mapping[str, str] | None = None,
        saved: Callable[[CheckpointSaved], None] = lambda _event: None,
        retry_s: float = 0.0,
    ) -> None:
        self._saved = saved
        self._fs: Any
        self._is_remote = is_url(url)
        self._retry_s = retry_s if self._is_remote else 0.0
        if self._is_remote:
            self._fs = Patient(url, retry_s)
            # Told whole: what a file system calls it lacks where it is.
            self._root = url.rstrip("/")
        else:
            self._fs, self._root = fsspec.core.url_to_fs(url)
        self._keep = keep
        self._better = better
        self._note = note
        self._identity = dict(identity or {})
        self._copies = Copies()
        self._executor = ThreadPoolExecutor(1, "bessemer-checkpoint")
        self._pending: Future[None] | None = None
        self._checked = False

    def save(
        self,
        state: State,
        step: int,
        metric: float | None = None,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        """Copy a state and write it in the background; waits for the one before.

        Args:
            state: nested dicts and lists of tensors, numbers, strings and None.
            step: optimizer steps that were taken (count).
            metric: value of checkpoint.best_metric, if there is one.
            before: waits, in the background, for what must be safe before the checkpoint counts.

        Raises:
            CheckpointError: this or the previous checkpoint cannot be written.
        """
        self.wait()
        copied = self._copies.of(state)
        self._pending = self._executor.submit(self._write, copied, step, metric, before)

    def wait(self) -> None:
        """Wait until the last checkpoint is on storage.

        Raises:
            CheckpointError: it cannot be written.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def complete(self) -> list[Saved]:
        """Return the complete checkpoints, oldest first."""
        self._fs.invalidate_cache()
        if not self._fs.exists(self._root):
            return []
        found = []
        for folder in self._fs.ls(self._root, detail=False):
            name = folder.rstrip("/").split("/")[-1]
            if _FOLDER.fullmatch(name):
                manifest = self._manifest(f"{self._root}/{name}" if self._is_remote else folder)
                if manifest is not None:
                    found.append(manifest)
        return sorted(found, key=lambda saved: (saved.step, _number(saved.path)))

    def newest(self) -> tuple[Saved, State] | None:
        """Load the newest checkpoint that is whole; a damaged one is passed over, and that is said."""
        for saved in reversed(self.complete()):
            try:
                return saved, self.load(saved)
            except CheckpointError as error:
                self._note(f"{error.found}; going back to the checkpoint before it")
        return None

    def best(self) -> Saved | None:
        """Return the checkpoint with the best metric, the newest if none has one, or None."""
        saved = self.complete()
        best = _best(saved, self._better)
        return best or (saved[-1] if saved else None)

    def load(self, saved: Saved) -> State:
        """Read and verify a checkpoint.

        Raises:
            CheckpointError: it is damaged, or holds something other than plain values and tensors.
        """
        try:
            data = self._fs.cat_file(f"{saved.path}/{saved.file}")
        except (OSError, StorageError) as error:
            raise CheckpointError(f"the checkpoint {saved.path} cannot be read: {_said(error)}") from error
        if hashlib.sha256(data).hexdigest() != saved.sha256:
            raise CheckpointError(
                f"the checkpoint {saved.path} is damaged: its hash is not the one in {_MANIFEST}",
                expected=f"sha256 {saved.sha256[:16]}…",
            )
        return _loaded(data, saved.path)

    def close(self) -> None:
        """Wait for the last checkpoint and end the thread."""
        try:
            self.wait()
        finally:
            self._executor.shutdown()

    def _write(self, state: State, step: int, metric: float | None, before: Callable[[], None]) -> None:
        folder, begun = self._free_folder(step), time.monotonic()
        try:
            name = _STATE
            if self._is_remote:
                name = f"state-{secrets.token_hex(4)}.pt"
            else:
                self._fs.makedirs(folder, exist_ok=True)
            written = patiently(lambda: self._written(state, folder, name), self._retry_s)
            saved = Saved(folder, step, written.sha256, metric, self._identity, name)
            if not self._checked:
                # What cannot be read back must be found at the first checkpoint, not at a restart.
                self.load(saved)
                self._checked = True
            manifest: dict[str, Any] = {
                "format": FORMAT,
                "step": step,
                "metric": metric,
                "bytes": written.num_bytes,
                "sha256": written.sha256,
                "identity": self._identity,
            }
            before()
            if self._is_remote:
                # A put is atomic there, and to move is to copy and then to remove.
                manifest["file"] = name
                self._fs.pipe_file(f"{folder}/{_MANIFEST}", json.dumps(manifest).encode())
            else:
                self._fs.pipe_file(f"{folder}/.{_MANIFEST}", json.dumps(manifest).encode())
                self._fs.mv(f"{folder}/.{_MANIFEST}", f"{folder}/{_MANIFEST}")
            self._saved(CheckpointSaved(step, written.num_bytes, time.monotonic() - begun, time.time()))
            self._prune()
        except CheckpointError:
            raise
        except Exception as error:
            raise self._not_written(step, error) from (None if self._is_remote else error)

    def _written(self, state: State, folder: str, name: str) -> _Hashing:
        with self._fs.open(f"{folder}/{name}", "wb") as file:
            written = _Hashing(file)
            _save(state, written, folder)
        return written

    def _not_written(self, step: int, error: Exception) -> CheckpointError:
        said = without_credentials(_said(error)) if self._is_remote else str(error)
        return CheckpointError(
            f"a checkpoint at step {step} cannot be written to {self._root}: {said}",
            expected="storage that can be written, with room for it",
            todo="free some room or set checkpoint.storage_path; training goes on from the checkpoint before",
        )

    def _free_folder(self, step: int) -> str:
        """Return a folder without a whole checkpoint: one is never written over."""
        folder = f"{self._root}/step-{step:010d}"
        here = [_number(saved.path) for saved in self.complete() if saved.step == step]
        return f"{folder}-{max(here) + 1}" if here else folder

    def _prune(self) -> None:
        saved = self.complete()
        best = _best(saved, self._better)
        for old in saved[: -self._keep]:
            if old != best:
                # The manifest goes first: a removal that is cut off leaves no whole-looking folder.
                self._fs.rm_file(f"{old.path}/{_MANIFEST}")
                self._fs.rm(old.path, recursive=True)

    def _manifest(self, folder: str) -> Saved | None:
        try:
            values = json.loads(self._fs.cat_file(f"{folder}/{_MANIFEST}"))
            return Saved(
                folder,
                values["step"],
                values["sha256"],
                values["metric"],
                values.get("identity", {}),
                values.get("file", _STATE),
            )
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            self._note(f"the manifest of {folder} is damaged; it does not count")
            return None


def _said(error: Exception) -> str:
    return error.found if isinstance(error, BessemerError) else str(error)


def _number(path: str) -> int:
    matched = _FOLDER.fullmatch(path.rstrip("/").split("/")[-1])
    return int(matched[2] or 0) if matched else 0


def comparison(metric: str, mode: str) -> Callable[[float, float], bool] | None:
    """Return what tells whether one value of the best metric is better than another, if there is one."""
    if not metric:
        return None
    return operator.lt if mode == "min" else operator.gt


def _best(saved: list[Saved], better: Callable[[float, float], bool] | None) -> Saved | None:
    best: Saved | None = None
    if better is None:
        return None
    for candidate in saved:
        if candidate.metric is None or candidate.metric != candidate.metric:
            continue
        if best is None or best.metric is None or better(candidate.metric, best.metric):
            best = candidate
    return best


class _Hashing(io.RawIOBase):
    """A file that hashes what is written to it, so that a state is never in memory as a whole.

    Attributes:
        num_bytes: what was written.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.num_bytes = 0

    def writable(self) -> bool:
        """It can be written to, and nothing else."""
        return True

    def write(self, data: Any) -> int:
        """Write bytes."""
        size = memoryview(data).nbytes
        self._hash.update(data)
        self._file.write(data)
        self.num_bytes += size
        return size

    @property
    def sha256(self) -> str:
        """Hash of all that was written."""
        return self._hash.hexdigest()


def _save(state: State, file: _Hashing, path: str) -> None:
    try:
        torch.save(state, cast(IO[bytes], file))
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise _unsafe(path, error) from error


def _loaded(data: bytes, path: str) -> State:
    try:
        with torch.serialization.safe_globals(_SAFE):
            state: State = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        raise _unsafe(path, error) from error
    if state.get("format") != FORMAT:
        raise CheckpointError(
            f"the checkpoint {path} has format {state.get('format')}", expected=f"format {FORMAT}"
        )
    whole: State = revived(state)
    return whole


def _unsafe(path: str, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"the checkpoint {path} holds something that cannot be loaded safely: "
        f"{(str(error).splitlines() or [type(error).__name__])[0]}",
        expected="tensors, numbers, strings, lists, dicts and None in every state_dict() and "
        "every carried value",
        todo="convert the value before it is carried or tracked, for example with float(x)",
    )
