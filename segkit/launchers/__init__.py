"""Command lines of segkit as jobs, handed to a launcher and followed to their ends."""
