"""How the C library deals with the memory that tensors give back."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
MADV_HUGEPAGE = 14  # of Linux's mman.h
KEPT = 1 << 30  # bytes free at the top of the heap before any go back to the system
PAGE = 1 << 12
OWN_MAPPING = 1 << 28  # bytes from which a block gets a mapping of its own, which goes back when it is freed


def keep_freed_memory() -> None:
    """Let glibc give freed memory to the next tensor instead of the system, for the rest of the process.

    A training step on a CPU allocates the same tensors of some megabytes as the step before. By default most of them
    are fetched from the system anew, page by page filled with zeros, which takes 5 % of a small network's time.
    Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT)
        mallopt(M_MMAP_THRESHOLD, OWN_MAPPING)
        _ask_for_huge_pages(ctypes.CDLL(None))


def _ask_for_huge_pages(libc: ctypes.CDLL) -> None:
    """Mark the part of the heap that the next tensors will take for pages of 2 MB, before it has any memory."""
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    size = OWN_MAPPING // 2
    blocks = [libc.malloc(size) for _ in range(KEPT // size - 1)]
    for block in filter(None, blocks):
        start = -(-block // PAGE) * PAGE
        libc.madvise(start, (block + size - start) // PAGE * PAGE, MADV_HUGEPAGE)
    for block in filter(None, blocks):
        libc.free(block)
