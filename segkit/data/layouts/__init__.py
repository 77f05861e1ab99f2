"""Where images and masks lie: our folders, those of others, and annotations of objects."""
