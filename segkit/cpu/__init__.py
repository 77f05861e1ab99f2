"""What makes prediction on a CPU faster. Without this room only speed is lost."""
