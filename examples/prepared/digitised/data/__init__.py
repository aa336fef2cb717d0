"""The data of the example."""
