"""Has this process keep the memory that it frees, since a training step asks for the same again and again.

Gradients and activations are freed and allocated anew in each step. glibc gives a large block back to the
system as soon as it is free, and in threads (Ray runs a program in one) whole heaps of 64 MiB with it, so
each step pays for page faults: 4,800 of them, 7 ms of 31 in the kernel, for a model of 10 M parameters.
"""

from __future__ import annotations

import ctypes
import os
import platform

# Parameters of glibc's mallopt(3), from malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
# Blocks up to this size come from heaps; glibc takes no larger limit (half of a thread's heap).
_LARGEST_IN_HEAP_BYTES = 32 * 2**20
# As much may be free at the end of a heap; a thread's heap, which has 64 MiB, is never given back whole.
_KEPT_BYTES, _PAD_BYTES = 2**30, 64 * 2**20
# Whoever set one of these knows what this process needs.
_OF_THE_USER = ("GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_THRESHOLD_")


def keep_freed_memory() -> bool:
    """Have this process's allocator keep what is freed; return whether it does.

    Nothing is changed where the allocator is not glibc's, or its user has tuned it by environment
    variables. Up to 1 GiB at the end of the heap stays with the process until it ends.
    """
    if platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in _OF_THE_USER):
        return False
    library = ctypes.CDLL(None)
    values = {
        _M_MMAP_THRESHOLD: _LARGEST_IN_HEAP_BYTES,
        _M_TRIM_THRESHOLD: _KEPT_BYTES,
        _M_TOP_PAD: _PAD_BYTES,
    }
    # It returns 1 for success.
    return all(library.mallopt(name, value) == 1 for name, value in values.items())
