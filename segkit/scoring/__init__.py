"""One confusion matrix per evaluation, and the scores that are derived from it."""
