"""What is wrong or odd in a data set: all of it, by kind, and the report of it."""
