"""Raw problems become a training set, with the lineage of every row."""
