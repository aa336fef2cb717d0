"""Tells three signs apart, from scans that are cut and straightened once."""
