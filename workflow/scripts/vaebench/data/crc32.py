"""The CRC-32 of joined pieces from the CRC-32 of each, without their bytes.

A CRC-32 is the remainder of a polynomial over the two-element field (ITU-T V.42): bytes behind a piece multiply its
remainder by a power of x. zlib has the same as crc32_combine, which Python's zlib does not offer. As there, bit 31
stands for 1, bit 30 for x and so on.
"""

from functools import lru_cache

DIVISOR = 0xEDB88320  # all but the highest power
ONE, BYTE = 1 << 31, 1 << 23  # the polynomials 1 and x^8


def joined(first: int, second: int, length: int) -> int:
    """The CRC-32 of two pieces, one behind the other, from theirs; the second has `length` bytes."""
    return _product(first, _shift(length)) ^ second


@lru_cache
def _shift(length: int) -> int:
    """What `length` bytes multiply a remainder by: x^(8 length), by squaring."""
    result, power = ONE, BYTE
    while length:
        if length & 1:
            result = _product(result, power)
        power, length = _product(power, power), length >> 1
    return result


def _product(first: int, second: int) -> int:
    """The remainder of the product of two polynomials."""
    result = 0
    for place in range(31, -1, -1):
        if first >> place & 1:
            result ^= second
        second = second >> 1 ^ (DIVISOR if second & 1 else 0)  # times x
    return result
