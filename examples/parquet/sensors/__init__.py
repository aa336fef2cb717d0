"""Finds faulty machines by the readings of their sensors, rows of Parquet files."""
