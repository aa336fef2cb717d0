"""Learns to spell names of towns, a line each."""
