"""What the values in masks mean: decided over a whole data set, or refused with the repair."""
