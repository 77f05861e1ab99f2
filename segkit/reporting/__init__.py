"""Pictures and tables that a person reads."""
