"""Lets the tests of the rules import `reward_cases`: pytest's importlib mode adds no folder by itself."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
