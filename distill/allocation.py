"""Memory of one step kept for the next.

A language model's scores of all words are blocks of hundreds of megabytes, which glibc asks the kernel for anew each
time and gives back at once: most of a step could go into pages that are cleared and mapped again.
"""

import ctypes
import sys
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of glibc's `mallopt`, as malloc.h numbers them."""


@cache
def keep_large_blocks() -> bool:
    """Have this process keep what it frees, from now on; whether its C library can be told to.

    It then holds the most that it ever needed, and about half as much again between the pieces.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl has no such function
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, -1))
