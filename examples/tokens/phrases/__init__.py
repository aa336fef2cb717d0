"""Learns a small language from a file of tokens."""
