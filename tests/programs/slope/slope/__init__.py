"""A small descent for searches, whose trials take as long and fail as they are told."""
