"""`benchmarks/rollout.py` on a GPU, with a Qwen2.5-VL of 1.5 B random weights in bfloat16.

python benchmarks/gpu/rollout.py [--rounds 3]
"""

import runpy
import sys
from pathlib import Path

sys.argv[1:1] = ["--device", "cuda", "--layers", "28"]
runpy.run_path(str(Path(__file__).parents[1] / "rollout.py"), run_name="__main__")
