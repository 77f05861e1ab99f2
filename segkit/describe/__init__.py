"""Tells what is installed, what fits what, and whether this machine is well."""
