"""The command line."""

import gc

gc.set_threshold(50_000)  # starting makes many objects and no garbage: looking for it took a tenth of the time
