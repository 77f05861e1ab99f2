"""What several commands share: how options are declared, completed and told."""
