"""Set before torch is loaded, as `ovrl` does for itself; and lets tests import `builders`."""

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.append(str(Path(__file__).parent))  # pytest's importlib mode adds no folder by itself
