"""Native sources: data that are read as they lie, as torch data sets whose neighbours lie together."""
