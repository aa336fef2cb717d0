"""One tree of errors for the whole product.

Every error says what was found, what was expected and what to do about it, and survives pickling,
because most of them are raised in one process (a Ray worker, a data task) and read in another.
`exit_code` is what the command line ends with: 2 for the user's mistakes, 1 for everything else.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BessemerError(Exception):
    """Base of all errors that Bessemer raises on purpose.

    Args:
        found: what was there, with the value.
        expected: what should have been there.
        todo: what the reader can do now: a command, a setting, a file to look at.
    """

    exit_code = 1

    def __init__(self, found: str, expected: str = "", todo: str = "") -> None:
        super().__init__(found, expected, todo)
        self.found = found
        self.expected = expected
        self.todo = todo

    def __str__(self) -> str:
        lines = [self.found]
        if self.expected:
            lines.append(f"expected: {self.expected}")
        if self.todo:
            lines.append(f"to do:    {self.todo}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[type[BessemerError], tuple[str, str, str]]:
        return type(self), (self.found, self.expected, self.todo)


class UserError(BessemerError):
    """Something the user gave cannot be used; nothing was started."""

    exit_code = 2


class SettingsError(UserError):
    """A setting is unknown, has the wrong type or is out of range."""


class ProjectError(UserError):
    """A project does not exist, or is not one that Bessemer can run."""


class NoLoaderError(ProjectError):
    """A program makes no loader before its outer loop, so nothing is known of its data."""


class SourceError(UserError):
    """Research code that cannot be read: missing, empty, unparsable, not Python."""


class ConversionError(UserError):
    """Research code that was read and understood, and that the converter refuses, with the reason."""


class PlacementError(UserError):
    """The wished workers do not fit on the cluster; Ray would wait for ever."""


class StorageError(UserError):
    """The place for checkpoints and logs cannot be written."""


class TrackingError(UserError):
    """The MLflow tracking store cannot be reached or refuses what is asked."""


class ClusterError(UserError):
    """The Ray cluster cannot be reached or started."""


class DeploymentError(UserError):
    """Settings that contradict each other, so that no cluster could be made from them."""


class DataError(BessemerError):
    """A batch, a sample or a plan is not what it must be; training on it would be wrong."""


class InvalidDataError(UserError):
    """Data that validation found errors in, or that are not what their manifest says; nothing was started."""


class CheckpointError(BessemerError):
    """A checkpoint cannot be written, or what is there does not fit what is being trained."""


class TrainingError(BessemerError):
    """Training ended with an error in the project's own code or after too many failures."""


class NeverLoggedError(UserError):
    """A search judges by a metric that its trials do not log."""


class RunStoppedError(BessemerError):
    """A run ended after a checkpoint because SIGTERM asked it to; it can be gone on with."""

    exit_code = 128 + 15


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name is closest to `name`, in any case, as a sentence, or nothing if none is near.

    >>> nearest("learnig_rate", ["learning_rate", "epochs"])
    'did you mean learning_rate?'
    """
    names: dict[str, str] = {}
    for each in known:
        if each == name or each.lower() not in names:
            names[each.lower()] = each
    matches = difflib.get_close_matches(name.lower(), list(names), n=1, cutoff=0.6)
    return f"did you mean {names[matches[0]]}?" if matches else ""
