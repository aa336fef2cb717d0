"""The MLflow server of a container: behind a password that it reads from a file, with a volume of its own.

Run as a module, by the `mlflow` image. What it is told comes from the environment:

- `BESSEMER_MLFLOW_FOLDER`: where the databases and the artifacts are; by default /mlflow.
- `BESSEMER_MLFLOW_PASSWORD_FILE`: file with the password of the user `admin`, who is made at the first start.
- `BESSEMER_MLFLOW_HOSTS`: names that browsers and jobs call it by, which MLflow checks.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

USER = "admin"
PORT = 5000
_DEFAULT_FOLDER = "/mlflow"
_DEFAULT_PASSWORD_FILE = "/run/secrets/mlflow_password"  # nosec B105  # a file's name
_DEFAULT_HOSTS = f"localhost:{PORT},127.0.0.1:{PORT}"
# A password is hashed slowly on purpose; what was right a minute ago is not hashed again.
_REMEMBERED_S = 60


def main(environment: Mapping[str, str]) -> None:
    """Become the MLflow server.

    Raises:
        OSError: the file with the password cannot be read.
    """
    folder = Path(environment.get("BESSEMER_MLFLOW_FOLDER", _DEFAULT_FOLDER))
    password = read_password(Path(environment.get("BESSEMER_MLFLOW_PASSWORD_FILE", _DEFAULT_PASSWORD_FILE)))
    with tempfile.NamedTemporaryFile("w", prefix="auth-", suffix=".ini", delete=False) as file:
        file.write(auth_config(folder))
    secrets = {
        "MLFLOW_AUTH_CONFIG_PATH": file.name,
        "MLFLOW_AUTH_ADMIN_PASSWORD": password,
        # Signs the cookies of its pages; must be the same after a restart, and is no password.
        "MLFLOW_FLASK_SERVER_SECRET_KEY": hashlib.sha256(f"cookies {password}".encode()).hexdigest(),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    hosts = environment.get("BESSEMER_MLFLOW_HOSTS", _DEFAULT_HOSTS)
    command = [sys.executable, "-m", "mlflow", *server_arguments(folder, hosts)]
    # It is Python itself, with words from here; a shell is not wanted.
    os.execve(command[0], command, {**environment, **secrets})  # nosec B606


def read_password(file: Path) -> str:
    """Return what a file with a secret holds.

    Raises:
        OSError: it cannot be read.
    """
    return file.read_text(encoding="utf-8").strip()


def auth_config(folder: Path) -> str:
    """Return the settings of MLflow's authentication: nobody but the admin sees or does anything."""
    return (
        "[mlflow]\n"
        "default_permission = NO_PERMISSIONS\n"
        f"database_uri = sqlite:///{folder}/users.db\n"
        f"admin_username = {USER}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        f"auth_cache_ttl_seconds = {_REMEMBERED_S}\n"
    )


def server_arguments(folder: Path, hosts: str) -> list[str]:
    """Return the arguments of `mlflow`: clients reach artifacts through the server alone."""
    # The container's own addresses; it wants a password.
    arguments = ["server", "--app-name", "basic-auth", "--host", "0.0.0.0", "--port", str(PORT)]  # nosec B104
    arguments += ["--workers", "1", "--allowed-hosts", hosts]
    arguments += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    return [*arguments, "--serve-artifacts", "--artifacts-destination", f"{folder}/artifacts"]


if __name__ == "__main__":
    main(os.environ)
