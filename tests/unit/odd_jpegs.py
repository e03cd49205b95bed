"""A small JPEG encoder for what Pillow does not write: any sampling factors, precision and size in the header."""

import struct

import numpy as np

QUANTIZATION = bytes([1] + [60] * 63)
DC_LENGTHS = bytes([0, 0, 0, 12] + [0] * 12)  # twelve sizes of four bits each
AC_LENGTHS = bytes([1, 1] + [0] * 14)  # end of block "0", one coefficient of size one "10"


def jpeg(factors, width=50, height=40, seed=0, precision=8, size=None):
    """A baseline JPEG of random blocks; `factors` are (horizontal, vertical) of each component.

    Three components are YCbCr, four CMYK as Adobe writes it. `size` (width, height) in the header may be another one.
    """
    header_width, header_height = size or (width, height)
    components = b"".join(bytes([i + 1, h << 4 | v, 0]) for i, (h, v) in enumerate(factors))
    tables = _segment(0xDB, b"\0" + QUANTIZATION)
    tables += _segment(0xC4, b"\0" + DC_LENGTHS + bytes(range(12))) + _segment(0xC4, b"\x10" + AC_LENGTHS + b"\0\1")
    frame = _segment(0xC0, struct.pack(">BHHB", precision, header_height, header_width, len(factors)) + components)
    scan = b"".join(bytes([i + 1, 0]) for i in range(len(factors)))
    adobe = _segment(0xEE, b"Adobe\0\x64\0\0\0\0\0") if len(factors) == 4 else b""
    head = b"\xff\xd8" + adobe + tables + frame + _segment(0xDA, bytes([len(factors)]) + scan + b"\0\x3f\0")
    return head + _entropy_coded(factors, width, height, seed) + b"\xff\xd9"


def progressive(scans, width=40, height=40, before=b"", behind=b""):
    """A grey progressive JPEG of flat blocks: a scan of the means, and more of empty details, as many as one likes.

    `before` are bytes of a segment of their own, such as a camera's block; `behind` those after the image's end.
    """
    blocks = -(-width // 8) * -(-height // 8)
    frame = _segment(0xC2, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0")
    tables = _segment(0xDB, b"\0" + QUANTIZATION) + _segment(0xC4, b"\0" + DC_LENGTHS + bytes(range(12)))
    tables += _segment(0xC4, b"\x10" + AC_LENGTHS + b"\0\1")
    means = _segment(0xDA, b"\1\1\0\0\0\0") + bytes(-(-4 * blocks // 8))  # no difference to the last: "0000"
    details = _segment(0xDA, b"\1\1\0\1\x3f\0") + bytes(-(-blocks // 8))  # no details: "0"
    return b"\xff\xd8" + _segment(0xE1, before) + tables + frame + means + (scans - 1) * details + b"\xff\xd9" + behind


def _segment(marker, payload):
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def _entropy_coded(factors, width, height, seed):
    numbers, bits = np.random.default_rng(seed), []
    factors = [(1, 1)] if len(factors) == 1 else factors  # the blocks of a single component are never grouped
    across, down = (max(factor[axis] for factor in factors) for axis in (0, 1))
    last = [0] * len(factors)
    for _ in range(-(-width // (8 * across)) * -(-height // (8 * down))):
        for component, (h, v) in enumerate(factors):
            for _ in range(h * v):
                value = int(numbers.integers(-900, 900))
                difference, last[component] = value - last[component], value
                length = abs(difference).bit_length()
                bits.append(f"{length:04b}")
                if length:
                    bits.append(f"{difference if difference > 0 else difference + (1 << length) - 1:0{length}b}")
                bits.append("1010" if numbers.random() < 0.5 else "0")
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")
