"""Clusters that this process is no part of: which there are, what they have, and jobs on them."""
