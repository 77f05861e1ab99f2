"""From data and parts to a trained model; the order of the shelves is in CONTRIBUTING.md."""
