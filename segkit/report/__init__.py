"""What people look at: pictures, tables, progress."""
