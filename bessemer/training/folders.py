"""The names of what a run leaves in its folder, for whoever writes or looks for it."""

CHECKPOINTS_FOLDER = "checkpoints"
LOGS_FOLDER = "logs"
SETTINGS_FILE = "settings.toml"
RECORD_FILE = "run.json"
RAY_SNAPSHOT_FILE = "checkpoint_manager_snapshot.json"
LOCK_FILE = "run.lock"
RESULT_FILE = "result.json"
