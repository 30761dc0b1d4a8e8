"""Found by every Python that a test starts while settings are watched: a gateway is treated as its test is."""

import sys

if "gateway" in sys.orig_argv:
    from effects.watch import begin

    begin()
