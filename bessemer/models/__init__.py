"""Models on many workers: placed, kept equal, and their gradients reduced exactly."""
