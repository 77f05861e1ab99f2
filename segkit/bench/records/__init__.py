"""What a result holds: cases, rows, the machine, the A/A pairs; read from files and written."""
