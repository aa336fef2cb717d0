"""Data that were prepared once: Parquet shards, and a manifest that says what is in them."""
