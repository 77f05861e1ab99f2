"""Files to arrays: what is opened, how it is decoded, paired, remembered and kept."""
