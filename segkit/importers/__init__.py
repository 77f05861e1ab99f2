"""Checkpoints from elsewhere: recognised, renamed, and put into a segkit model that equals them."""
