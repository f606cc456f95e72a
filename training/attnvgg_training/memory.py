"""Memory that is kept from step to step, where tensors live in the memory of a Linux process.

A step allocates and frees the same large tensors again and again. glibc gives such memory back to
the system at once and gets it anew, zeroed page by page when it is touched. Here freed memory is
kept, and large tensors lie on huge pages. Only speed depends on it. See mallopt(3), and
THP_MEM_ALLOC_ENABLE in PyTorch's c10/core/impl/alloc_cpu.cpp.
"""

import ctypes
import os
import sys

# Parameters of mallopt, from malloc.h.
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
MOST = 2**31 - 1  # an int
PAD = 256 << 20


def keep() -> None:
    """Before the first large tensor; without glibc it does nothing."""
    if not sys.platform.startswith("linux"):
        return
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MMAP_MAX, 0)  # everything lies in the heap, which grows and is not trimmed
        mallopt(TRIM_THRESHOLD, MOST)
        mallopt(TOP_PAD, PAD)
