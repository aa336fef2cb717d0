"""Tells two rings of points apart, a torch Dataset of the project's own."""
