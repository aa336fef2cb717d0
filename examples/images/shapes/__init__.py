"""Tells rings from squares, a folder of images for each."""
