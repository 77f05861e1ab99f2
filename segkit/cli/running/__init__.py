"""How a command's work is run: by a launcher, in shards, again, on a closed pipe."""
