"""What a training takes on this machine, measured before it begins."""
