"""For every test of the house and of its plugins, before torch is imported anywhere."""

import os

# Tests run side by side, one process a core: with more threads they wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
