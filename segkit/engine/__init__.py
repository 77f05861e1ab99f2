"""Training and evaluation: a small loop of our own on PyTorch's distributed engine."""
