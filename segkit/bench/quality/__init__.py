"""Score against minutes: tools that train on the same images in the same time, on real data."""
