"""Train a project as a Ray job; options are those of `bessemer train`.

ray job submit --address http://127.0.0.1:8265 --working-dir . -- python jobs/train.py --project digits
"""

import sys
from pathlib import Path

# A job runs in an uploaded copy of the repository, which may be newer than what is installed.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bessemer.cli import entry

if __name__ == "__main__":
    sys.exit(entry(["train", *sys.argv[1:]]))
