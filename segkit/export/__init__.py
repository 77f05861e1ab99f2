"""Takes a trained model out of segkit, as a file that other programs run."""
