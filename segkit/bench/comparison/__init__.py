"""One time beside another: medians, intervals, ratios to a baseline, two results."""
