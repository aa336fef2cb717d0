"""Reads signs, pictures and labels in tar files as WebDataset writes them."""
