"""Typed settings, where their values come from, and where a project lives on disk."""
