"""The process of one case: it builds, checks, warms up and times, and answers."""
