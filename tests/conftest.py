"""Set before torch is loaded, as `ovrl` does for itself."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
