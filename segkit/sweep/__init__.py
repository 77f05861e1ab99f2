"""Many trainings that differ in a few settings: their points, their runs, one table of them."""
