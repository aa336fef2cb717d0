"""The model registry: versions of a model, their names, and what is known of each."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bessemer.errors import TrackingError, nearest
from bessemer.tracking.store import client_of, errors_named, in_use

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Version:
    """A version of a registered model.

    Attributes:
        name: of the model.
        number: of the version, from 1.
        aliases: names that stand for it, sorted.
        run_id: MLflow run that it came from.
        tags: what is known of it.
        description: its card, in markdown.
        created_at: seconds since 1970.
    """

    name: str
    number: int
    aliases: tuple[str, ...]
    run_id: str
    tags: Mapping[str, str]
    description: str
    created_at: float

    @property
    def label(self) -> str:
        """Name and number, as they are written in commands."""
        return f"{self.name}/{self.number}"


def versions(uri: str, name: str) -> list[Version]:
    """Return the versions of a model, oldest first; none if there is no such model.

    Raises:
        TrackingError: the store cannot be reached.
    """
    from mlflow.exceptions import MlflowException

    with errors_named(uri):
        client = client_of(uri)
        try:
            aliases = client.get_registered_model(name).aliases
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return []
            raise
        found = list(client.search_model_versions(f"name = '{_quoted(name)}'"))
    return sorted((_version(each, aliases) for each in found), key=lambda version: version.number)


def find_version(uri: str, reference: str) -> Version:
    """Return the version that NAME, NAME@ALIAS or NAME/VERSION stands for; NAME is the newest.

    Raises:
        TrackingError: there is none; says which there are.
    """
    name, at, alias = reference.partition("@")
    slash, number = "", ""
    if not at:
        name, slash, number = reference.rpartition("/") if "/" in reference else (reference, "", "")
    known = versions(uri, name)
    if not known:
        with errors_named(uri):
            models = sorted(model.name for model in client_of(uri).search_registered_models())
        raise TrackingError(
            f"no model {name!r} is registered",
            expected=nearest(name, models) or f"one of: {', '.join(models) or 'none yet'}",
            todo="bessemer register",
        )
    if at:
        found = [version for version in known if alias in version.aliases]
    else:
        found = [version for version in known if not slash or str(version.number) == number]
    if not found:
        shown = ", ".join(
            f"{version.label}{''.join(f' @{alias}' for alias in version.aliases)}" for version in known
        )
        raise TrackingError(f"the model {name} has no version {reference!r}", expected=f"one of: {shown}")
    return found[-1]


def create_version(
    uri: str,
    name: str,
    model_id: str,
    run_id: str,
    tags: Mapping[str, str],
    description: str,
    alias: str,
) -> Version:
    """Register a logged model as a new version with an alias; all of it, or nothing is left.

    Args:
        uri: tracking store.
        name: of the registered model; made if it does not exist.
        model_id: of the logged model; it is deleted again if it cannot be registered.
        run_id: that it belongs to.
        tags: of the version.
        description: of the version, in markdown.
        alias: moved to it.

    Raises:
        TrackingError: it could not be registered.
    """
    with in_use(uri):  # where a logged model is looked for, whatever store the client has
        client = client_of(uri)
        is_new = not client.search_registered_models(filter_string=f"name = '{_quoted(name)}'")
        with contextlib.ExitStack() as undo:
            undo.callback(_forget, lambda: client.delete_logged_model(model_id))
            if is_new:
                client.create_registered_model(name)
                undo.callback(_forget, lambda: client.delete_registered_model(name))
            made = client.create_model_version(
                name,
                f"models:/{model_id}",
                run_id,
                tags=dict(tags),
                description=description,
                model_id=model_id,
            )
            undo.callback(_forget, lambda: client.delete_model_version(name, str(made.version)))
            client.set_registered_model_alias(name, alias, str(made.version))
            undo.pop_all()
    return next(version for version in versions(uri, name) if version.number == int(made.version))


def _quoted(name: str) -> str:
    return name.replace("'", "\\'")


def _forget(undo: Any) -> None:
    with contextlib.suppress(Exception):  # what went wrong first is what is told
        undo()


def move_alias(uri: str, name: str, alias: str, number: int) -> None:
    """Have an alias stand for a version, instead of another one if it did."""
    with errors_named(uri):
        client_of(uri).set_registered_model_alias(name, alias, str(number))


def tag_version(uri: str, name: str, number: int, tags: Mapping[str, str]) -> None:
    """Set tags of a version."""
    with errors_named(uri):
        client = client_of(uri)
        for key, value in tags.items():
            client.set_model_version_tag(name, str(number), key, value)


def describe_version(uri: str, name: str, number: int, description: str) -> None:
    """Replace the description of a version."""
    with errors_named(uri):
        client_of(uri).update_model_version(name, str(number), description)


def weights_of(uri: str, version: Version) -> dict[str, torch.Tensor]:
    """Load the weights of a registered PyTorch model, on the CPU.

    Raises:
        TrackingError: it cannot be loaded, or is no PyTorch model.
    """
    import mlflow.pytorch

    with in_use(uri):
        model = mlflow.pytorch.load_model(f"models:/{version.label}")
        return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _version(found: Any, aliases: Mapping[str, str]) -> Version:
    number = int(found.version)
    created = found.creation_timestamp
    return Version(
        name=found.name,
        number=number,
        aliases=tuple(sorted(alias for alias, of in aliases.items() if int(of) == number)),
        run_id=found.run_id or "",
        tags=dict(found.tags),
        description=found.description or "",
        created_at=(created if created is not None else time.time() * 1000) / 1000,
    )
