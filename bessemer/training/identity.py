"""What a run is made of, by name: code, lock file and settings; and how it differs from what it was.

A checkpoint carries it, so that a run is not gone on with on something else by accident. Settings that
say how and where to compute, and not what, may change at any time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bessemer.config.loading import fields_of, value_at
from bessemer.config.settings import Settings
from bessemer.errors import CheckpointError

Identity = Mapping[str, str]

# What a project computes depends on these of Bessemer's own sections, and on all settings of its own.
_MATTERS = ("scaling.loss_reduction", "data.order", "data.seed")
_SECTIONS = tuple(Settings.model_fields)
_MAX_SHOWN = 8


def identity_of(settings: Settings, code: Sequence[Path], tags: Mapping[str, str]) -> dict[str, str]:
    """Return names and values of what a run's numbers depend on.

    Args:
        settings: of the run.
        code: folders of the project's packages.
        tags: from `provenance`; the hash of the lock file is taken from there.
    """
    values = {
        f"setting {dotted}": repr(value_at(settings, dotted))
        for dotted, _ in fields_of(type(settings))
        if dotted in _MATTERS or dotted.split(".")[0] not in _SECTIONS
    }
    # Where data lie does not matter: what they are is in the fingerprints of the loaders.
    values |= {
        f"setting data.sources.{name}.{field}": repr(value)
        for name, source in settings.data.sources.items()
        for field, value in source
        if field != "path"
    }
    lock = tags.get("bessemer.lock_sha256", "")
    files = {f"code {name}": digest for name, digest in _hashes(code)}
    return {**values, **files, **({"lock file": lock[:16]} if lock else {})}


def differences(before: Mapping[str, object], now: Mapping[str, object]) -> str:
    """Return what differs between two descriptions, with both values; "" if nothing does.

    >>> differences({"lr": 0.1, "width": 8}, {"lr": 0.2, "width": 8})
    'lr: 0.1 -> 0.2'
    """
    changed = [name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]
    shown = [
        f"{name}: {before.get(name, 'was not there')} -> {now.get(name, 'is gone')}"
        for name in changed[:_MAX_SHOWN]
    ]
    more = [f"and {len(changed) - _MAX_SHOWN} more"] if len(changed) > _MAX_SHOWN else []
    return "; ".join([*shown, *more])


def check_same(saved: Identity, now: Identity, checkpoint: str) -> None:
    """Refuse to go on from a checkpoint that was made by something else.

    Raises:
        CheckpointError: names each difference with both values.
    """
    changed = differences(saved, now)
    if not changed:
        return
    raise CheckpointError(
        f"the run has changed since its checkpoint {checkpoint}: {changed}",
        expected="the code, lock file, settings and data that made the checkpoint",
        todo="put them back, start a new run, or go on with what there is now: --allow-drift",
    )


def _hashes(folders: Iterable[Path]) -> Iterable[tuple[str, str]]:
    for folder in folders:
        for file in sorted(folder.rglob("*.py")):
            name = f"{folder.name}/{file.relative_to(folder).as_posix()}"
            yield name, hashlib.sha256(file.read_bytes()).hexdigest()[:16]
