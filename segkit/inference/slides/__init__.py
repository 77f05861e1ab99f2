"""Images too large to hold: read, predicted and written region by region."""
