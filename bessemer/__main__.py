"""`python -m bessemer` is the command line."""

import sys

from bessemer.cli import entry

sys.exit(entry())
