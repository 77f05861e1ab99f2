"""What a step amounts to without running it, and the least that it takes on a device."""
