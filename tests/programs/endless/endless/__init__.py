"""A regression in an endless loop that draws its batches with `next`."""
