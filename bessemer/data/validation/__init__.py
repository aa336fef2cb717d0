"""Looks at data before anything is trained on them: named checks, one report, one verdict.

Data come as blocks of columns (`blocks.py`) from prepared shards (`prepared.py`), native sources
(`sources.py`) or the data sets of a program (`samples.py`). A tally (`tally.py`) takes them in as a
stream and keeps what the checks (`checks.py`) need: statistics, and 64 bits of each sample's content.
"""
