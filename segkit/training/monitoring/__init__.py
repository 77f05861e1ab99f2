"""What a training tells those who watch it, and how they see it."""
