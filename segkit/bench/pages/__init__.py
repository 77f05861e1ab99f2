"""The page and pictures of a benchmark's result."""
