"""How far ahead of the log's tail its file is filled with zeros.

A sync of bytes written over allocated ones is a good deal cheaper than one
that also makes the file longer.  So space is written before it is needed, in
small steps and off the hot path; how far ahead grows with the log, so that a
small one (many test servers on one disk) takes 1 MiB and not 64.

A step is at least as large as what was appended since the step before, so the
tail does not catch up with the zeros; up to 1 MiB, for nobody is served
meanwhile.  Batches beyond that, one after the other, do overtake them: writing
zeros before each would double the work of a disk that is busy as it is.
"""

from __future__ import annotations

_MIB = 1 << 20

FILL_STEP_BYTES = 256 * 1024
MOST_FILL_STEP_BYTES = _MIB
NEXT_SEGMENT_FILL_BYTES = _MIB

_GOALS_BYTES = (_MIB, 4 * _MIB, 16 * _MIB, 32 * _MIB, 48 * _MIB)
_MOST_AHEAD_BYTES = 8 * _MIB


def fill_goal(tail: int, segment_bytes: int) -> int:
    """How long a segment with its tail at ``tail`` should be by now, in bytes."""
    wanted = tail + min(tail, _MOST_AHEAD_BYTES) + FILL_STEP_BYTES
    for goal in _GOALS_BYTES:
        if wanted <= goal < segment_bytes:
            return goal
    return segment_bytes


def wants_next_segment(tail: int, segment_bytes: int) -> bool:
    """Whether the segment after this one should be made ready: three quarters are used."""
    return tail >= segment_bytes // 4 * 3


def fill_step(appended: int) -> int:
    """How many zeros to write in a step, ``appended`` bytes of batches after the one before."""
    steps = -(-appended // FILL_STEP_BYTES)
    return min(max(steps, 1) * FILL_STEP_BYTES, MOST_FILL_STEP_BYTES)
