"""From settings to the files that images and clusters are made from; pure, but for what a container runs."""
