"""Tells circles from squares, a folder of images for each."""
