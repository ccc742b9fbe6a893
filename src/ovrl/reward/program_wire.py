"""What goes between `program` and `program_host`: fixed records, and never a text of a program."""

import struct

WAKE = b"start"
"""The first message: programs are about to come."""
REQUEST = struct.Struct("<ddq")
"""Seconds of CPU time, seconds of wall time, bytes of memory. Comes with two descriptors: channel, output."""
REPLY = struct.Struct("<ii?d")
"""Signal that ended the child or 0, exit code, whether its time expired, seconds of CPU time."""
READY = b"ready"
STOP = b"stop"
"""Sent during a run: end it now."""

SEALED = b"."
"""First byte that a child writes on its channel, once it is locked in: before any line of the program is run, so that
no program can leave it out. Without it, all that the channel says is the child's own."""
