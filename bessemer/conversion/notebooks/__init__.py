"""Notebooks: from a file of cells to one Python program whose every line knows its cell."""
