"""One benchmark measured by several workers, wherever a launcher starts them."""
