"""What is measured: grids of components and settings, by name or from a YAML file."""
