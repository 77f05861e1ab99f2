"""From data and parts to a trained model: setup, loop, checkpoints, run folder."""
