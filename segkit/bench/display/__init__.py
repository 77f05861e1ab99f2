"""What is seen while a benchmark runs, and the words for its cases."""
