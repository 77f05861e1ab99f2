"""The network: its parts put together, its weights, its folder, and labels from its logits."""
