"""Losses for semantic segmentation with one rule for ignored pixels, for segkit."""
