"""How samples become the batches of a step: the order, the fetching, the stream, the loader."""
