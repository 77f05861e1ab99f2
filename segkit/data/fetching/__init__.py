"""Published data sets: fetched, held to checksums, unpacked inside their folder."""
