"""From settings to data, network, loss and metrics, and what is said of them first."""
