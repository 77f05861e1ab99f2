"""What time, memory and a machine's conditions are read with."""
