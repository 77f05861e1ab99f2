"""Image and mask changed together, on arrays, as a preset says."""
