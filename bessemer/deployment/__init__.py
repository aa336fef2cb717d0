"""Files of clusters and images, written from settings: pure text, without Ray, Docker or a network."""
