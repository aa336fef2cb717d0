"""Tells good reviews from bad ones, JSON lines."""
