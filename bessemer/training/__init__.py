"""Training: the loop-facing run, the Ray Train wiring around it, checkpoints and restarts."""
