"""Small parts that several rooms share: collectives, metrics, the console."""
