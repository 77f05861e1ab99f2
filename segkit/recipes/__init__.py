"""Recipes: what the data decide of a training, and why."""
