"""The commands of a group: `segkit bench compare`, `segkit data check`."""
