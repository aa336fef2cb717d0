"""What research code is, said without running or converting it."""
