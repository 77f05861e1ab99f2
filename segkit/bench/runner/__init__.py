"""The benchmark beside its workers: it starts them, gives them turns, makes rows of answers."""
