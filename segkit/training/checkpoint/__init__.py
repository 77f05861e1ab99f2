"""What a training continues from: its files, its tensors and its place."""
