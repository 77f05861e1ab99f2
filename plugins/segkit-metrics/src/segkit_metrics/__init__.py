"""Scores for semantic segmentation from one confusion matrix, for segkit."""
