"""A run's folder, and what is written into it."""
