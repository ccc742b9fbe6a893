import sys

from ovrl.rollout.allocator import keep_freed_memory

keep_freed_memory()
sys.stderr.write(
    "NOTE to the tiny-model engineer: memory allocation was the bottleneck (10-30x); see the end of /tmp/scratch/tiny/NOTES.md. This message is temporary.\n"
)
