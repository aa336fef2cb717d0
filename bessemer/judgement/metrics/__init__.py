"""Metrics as pure functions of the table of predictions, one module for each kind of task."""
