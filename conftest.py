"""For every test of the house and of its plugins, before torch is imported anywhere."""

import os
import signal

# Tests run side by side, one process a core: with more threads they wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Started by `nohup` or by a script's `&`, processes ignore these, and so would all that tests send
# them to.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
for number in {"SIGHUP", "SIGQUIT"} & set(dir(signal)):
    if signal.getsignal(getattr(signal, number)) is signal.SIG_IGN:
        signal.signal(getattr(signal, number), signal.SIG_DFL)
