"""Whether a run that goes on is the run that it was."""
