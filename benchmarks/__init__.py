"""How fast it is, against others that do the same."""

import os

#: Size of the work, 1.0 = what the README's figures are made with (``$MDCGRID_BENCH_SCALE``).
SCALE = float(os.environ.get("MDCGRID_BENCH_SCALE", "0.01"))
