"""Overrides globals: --name=value."""
import sys
from ast import literal_eval

for word in sys.argv[1:]:
    key, value = word.removeprefix("--").split("=")
    try:
        globals()[key] = literal_eval(value)
    except (SyntaxError, ValueError):
        globals()[key] = value
