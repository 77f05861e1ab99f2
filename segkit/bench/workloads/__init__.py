"""What a case does: set up once, then the same step again and again."""
