"""What changes a network's weights: schedule, average, freezing, norms, compiling."""
