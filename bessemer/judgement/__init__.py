"""Judges trained models: evaluates, compares, registers and promotes them."""
