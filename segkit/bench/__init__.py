"""Measuring: cases, isolated runs, timing, memory, records."""
