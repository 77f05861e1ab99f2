"""Finds components by metadata, reads how they are written, and loads the one that is named."""
