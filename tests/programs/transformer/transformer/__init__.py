"""A tiny causal transformer over a synthetic text, evaluated in the middle of its epochs."""
