"""How runs stand, what their logs say, and what the cluster has: read without disturbing them."""
