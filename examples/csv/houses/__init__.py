"""Predicts prices of houses from a table, CSV files."""
