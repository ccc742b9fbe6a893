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

UNSEALED = 125
"""Exit code of a child that could not be locked in, and therefore ran nothing."""
