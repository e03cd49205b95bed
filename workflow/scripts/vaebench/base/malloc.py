"""Tune glibc's malloc to reuse the memory of freed tensors and images."""

import ctypes
import mmap

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
MADV_HUGEPAGE = 14  # of Linux's mman.h
KEPT = 1 << 30  # bytes
OWN_MAPPING = 1 << 28  # bytes


def keep_freed_memory(kept: int = KEPT, own_mapping: int = OWN_MAPPING) -> None:
    """Let glibc give freed memory to the next tensor or image instead of the system, for the rest of the process.

    Up to `kept` bytes at the top of the heap stay; a block of `own_mapping` bytes or more goes back when it is freed.

    A training step on a CPU allocates the same tensors of some megabytes as the step before. By default most of them
    are fetched from the system anew, page by page filled with zeros, and each page of 4 KB is looked up where a large
    one would do (docs/performance.md). Other C libraries are left as they are.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt") and hasattr(library, "madvise"):
        library.mallopt(M_TRIM_THRESHOLD, kept)
        library.mallopt(M_MMAP_THRESHOLD, own_mapping)
        _ask_for_large_pages(library, kept, own_mapping // 2)


def _ask_for_large_pages(library: ctypes.CDLL, kept: int, size: int) -> None:
    """Mark the addresses that the heap will give to the next tensors for pages of 2 MB; no memory is taken yet."""
    library.malloc.restype = ctypes.c_void_p
    library.malloc.argtypes = [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    blocks = [block for block in (library.malloc(size) for _ in range(kept // size - 1)) if block]
    for block in blocks:
        start = block // mmap.PAGESIZE * mmap.PAGESIZE
        library.madvise(start, size + mmap.PAGESIZE, MADV_HUGEPAGE)
    for block in blocks:
        library.free(block)
