"""The tracking store: where it is, whether it answers, and what is said when it does not."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit, urlunsplit

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from bessemer.config.settings import Tracking
from bessemer.errors import TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE_NAME = "mlflow.db"
ARTIFACTS_NAME = "mlflow-artifacts"
_CONNECT_TIMEOUT_S = 10
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 8.0
Answer = TypeVar("Answer")
_VARIABLES = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID")


def tracking_uri(configured: str, storage_path: Path | None) -> str:
    """Decide on the tracking store: the setting, else MLflow's variable, else a SQLite file.

    Args:
        configured: the setting; may be empty.
        storage_path: folder for the SQLite file; None if runs are at a URL, where no database can be.

    Raises:
        TrackingError: a file store, which MLflow no longer serves; or there is no place for a SQLite file.
    """
    uri = configured or os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri and storage_path is None:
        raise TrackingError(
            "nothing says where MLflow records runs, and checkpoint.storage_path is a URL",
            expected="a tracking server: tracking.uri or MLFLOW_TRACKING_URI; no SQLite file can be at a URL",
            todo="start one (`mlflow server`) and set --tracking.uri http://host:port",
        )
    if not uri:
        assert storage_path is not None
        return f"sqlite:///{storage_path.absolute() / DATABASE_NAME}"
    if urlsplit(uri).scheme in ("", "file"):
        raise TrackingError(
            f"the tracking URI {uri} names a folder; MLflow 3 refuses file stores",
            expected="sqlite:////absolute/path/mlflow.db, or http(s)://host:port",
            todo="leave tracking.uri empty for a SQLite file under checkpoint.storage_path",
        )
    return uri


def sign_in(tracking: Tracking) -> None:
    """Tell MLflow's client in this process who its user is, if a file has the password.

    MLflow takes both from the environment alone; set here, they stand in no command line and in no settings.

    Raises:
        TrackingError: the file cannot be read, or is empty.
    """
    if not tracking.password_file:
        return
    try:
        password = Path(tracking.password_file).expanduser().read_text(encoding="utf-8").strip()
    except OSError as error:
        raise TrackingError(
            f"the file {tracking.password_file} with MLflow's password cannot be read: {error.strerror}",
            expected="a file with the password, on the machine that trains",
            todo="correct tracking.password_file, or mount the secret",
        ) from error
    if not password or not tracking.username:
        what = "tracking.username is empty" if password else f"the file {tracking.password_file} is empty"
        raise TrackingError(what, expected="a user and a password, to sign in at MLflow")
    os.environ["MLFLOW_TRACKING_USERNAME"] = tracking.username
    os.environ["MLFLOW_TRACKING_PASSWORD"] = password


def without_password(uri: str) -> str:
    """Return a URI that is fit for a screen or a log."""
    parts = urlsplit(uri)
    if parts.password is None:
        return uri
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{place}"))


def check_store(uri: str) -> None:
    """See that the tracking store answers, and create it if it is a SQLite file.

    Raises:
        TrackingError: it does not answer within 10 seconds.
    """
    with errors_named(uri):
        client_of(uri).search_experiments(max_results=1)


def client_of(uri: str) -> MlflowClient:
    """Return a client that gives up a dead server soon."""
    # MLflow retries a dead server for minutes; a user who waits should hear of it at once.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(_CONNECT_TIMEOUT_S))
    # What is trained is nobody else's business, as with Ray's usage statistics.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # Addresses of pages, as this process knows the server, which need not be how a reader's browser does.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    from mlflow import MlflowClient

    # After the import, which sets the levels anew.
    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    return MlflowClient(uri)


@contextlib.contextmanager
def in_use(uri: str) -> Iterator[None]:
    """Point MLflow's own functions at a store, and back at what they were pointed at before.

    MLflow writes store and experiment into the environment, where the next run of this process, or a child of
    it, would take them for the user's wish.

    Raises:
        TrackingError: for whatever goes wrong inside.
    """
    import mlflow

    before = {name: os.environ.get(name) for name in _VARIABLES}
    with errors_named(uri):
        try:
            mlflow.set_tracking_uri(uri)
            yield
        finally:
            mlflow.set_tracking_uri(before["MLFLOW_TRACKING_URI"])
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


@contextlib.contextmanager
def errors_named(uri: str) -> Iterator[None]:
    """Raise a TrackingError for whatever goes wrong inside."""
    try:
        yield
    except TrackingError:
        raise
    except Exception as error:
        raise named(uri, error) from error


def patiently(call: Callable[[], Answer], retry_s: float) -> Answer:
    """Call again and again while the store does not answer, for so long (seconds).

    Raises:
        TrackingError: it still does not.
    """
    calls = Retrying(
        stop=stop_after_delay(retry_s),
        wait=wait_exponential(multiplier=_FIRST_PAUSE_S, max=_LONGEST_PAUSE_S),
        retry=retry_if_exception_type(TrackingError),
        reraise=True,
    )
    return calls(call)


def named(uri: str, error: BaseException) -> TrackingError:
    """Return what a user is told of an error of the store, without a password."""
    text = (str(error).splitlines() or [type(error).__name__])[0]
    # What failed may quote the URI, with the password in it.
    secret = urlsplit(uri).netloc.rpartition("@")[0]
    first_line = (text.replace(f"{secret}@", "") if secret else text)[:300]
    return TrackingError(
        f"the tracking store {without_password(uri)} does not work: {first_line}",
        expected="an MLflow server that answers, or a database that can be written",
        todo="start the server, correct tracking.uri, or leave it empty for a SQLite file",
    )
