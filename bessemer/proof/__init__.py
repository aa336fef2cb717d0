"""Proof that a project computes what its research code computes: tapes of both, compared."""
