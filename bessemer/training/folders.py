"""The names of what a run leaves in its folder, for whoever writes or looks for it."""

from __future__ import annotations

CHECKPOINTS_FOLDER = "checkpoints"
EVALUATION_FOLDER = "evaluation"
LOGS_FOLDER = "logs"
POSITIONS_FOLDER = "positions"
SETTINGS_FILE = "settings.toml"
RECORD_FILE = "run.json"
RAY_SNAPSHOT_FILE = "checkpoint_manager_snapshot.json"
LOCK_FILE = "run.lock"
RESULT_FILE = "result.json"
HEARTBEAT_FILE = "heartbeat.json"


def log_file_name(rank: int | None) -> str:
    """Return the name of the log of a worker, or of the driver for None, in the folder of logs."""
    return "driver.jsonl" if rank is None else f"worker-{rank}.jsonl"
