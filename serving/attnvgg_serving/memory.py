"""Memory that pictures took goes back to the system.

glibc raises its threshold for separate mappings to the size of the largest block that was freed,
up to 32 MB, and from then on pictures lie in the heaps of the decoding threads, which are not given
back and fragment: the resident memory grew by hundreds of MB in minutes. Here the threshold is
fixed, which costs a large picture a few milliseconds of page faults, and a small one nothing.
"""

import ctypes
import logging
import resource
from pathlib import Path

logger = logging.getLogger(__name__)

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # of malloc.h
THRESHOLD = 1 << 20
ARENAS = 4


def give_back() -> None:
    """For this process, from now on; does nothing where the C library is another one."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        logger.debug("the C library has no mallopt")
        return
    mallopt(_M_MMAP_THRESHOLD, THRESHOLD)
    mallopt(_M_ARENA_MAX, ARENAS)


def resident() -> int | None:
    """Bytes of this process; None where there is no /proc."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return None
    return int(pages) * resource.getpagesize()
