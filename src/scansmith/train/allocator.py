"""Let the C library keep the memory that training gives back, because taking it anew is slow.

glibc returns large buffers to the system after each use. A training step allocates the same
buffers again and again, and the page faults of fresh memory then cost more than the arithmetic.
"""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4


def keep_freed_memory() -> bool:
    """Make glibc reuse freed buffers for the rest of the process; elsewhere do nothing.

    It trades resident memory for speed. Calling it twice is harmless.
    Returns:
        Whether it took effect: False on macOS, Windows and musl, which have no such switch.
    Source:
        `man 3 mallopt`; measured by benchmarks/training_step.py.
    """
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  (only glibc has it)
        mallopt = library.mallopt
    except (AttributeError, OSError, TypeError):
        return False
    mallopt.argtypes = (ctypes.c_int, ctypes.c_int)
    mallopt.restype = ctypes.c_int
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, -1))
