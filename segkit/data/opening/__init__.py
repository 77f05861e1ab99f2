"""Opens a data set, by folder or by name: one look at every file, then samples by index."""
