"""A Ray head for tests, and folders in which verbs are run as a user runs them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bessemer.drill.heads import Head

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
OBJECT_STORE_BYTES = 400 * 2**20

__all__ = ["BIN", "CALL", "OBJECT_STORE_BYTES", "ROOT", "Head", "Workplace", "environment_with"]

CALL = """
if __name__ == "__main__":
    try:
        outcome = fit(train, settings, project=PROJECT)
    except BessemerError as error:
        print(error)
        sys.exit(error.exit_code)
"""
"""The end of a script that trains: errors of Bessemer become one message and an exit status."""


@dataclass(frozen=True)
class Workplace:
    """A folder with `src/`, in which verbs are run as a user runs them."""

    folder: Path
    environment: dict[str, str]

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "bessemer", *arguments]

    def run(self, *arguments: str, timeout_s: float = 240) -> subprocess.CompletedProcess[str]:
        """Run a verb to its end."""
        return self._run(self.command(*arguments), timeout_s)

    def run_script(self, path: Path, *arguments: str, timeout_s: float = 240) -> tuple[int, str]:
        """Run a program of somebody who uses the library; return its exit status and what it printed."""
        done = self._run([sys.executable, str(path), *arguments], timeout_s)
        return done.returncode, done.stdout + done.stderr

    def _run(self, command: list[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env={**self.environment, "PYTHONFAULTHANDLER": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            stdout, stderr = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # which has Python print where every thread is
            stdout, stderr = process.communicate(timeout=30)
            raise AssertionError(
                f"{' '.join(command)} did not end within {timeout_s:g} s\n{stdout}\n{stderr}"
            ) from None
        except BaseException:
            process.kill()
            process.communicate()
            raise
        return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a verb; its output can be read line by line."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def environment_with(more: dict[str, str]) -> dict[str, str]:
    """Return the environment of a verb: no variable of the tester's own changes what a test says.

    Runs do not log their model, which takes seconds a run, unless a test asks for it.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BESSEMER_", "RAY_", "MLFLOW_"))
    }
    fixed = {
        "RAY_AUTH_MODE": "disabled",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "160",
        "BESSEMER_TRACKING__LOG_MODEL": "false",
    }
    return {**kept, **fixed, **more}
