"""The pixels of every kind of image file against Pillow's, and what is said of those that are not read."""

import io
import struct
import zlib

import numpy as np
import pytest
from image_cases import DECODING, READING, encoded, picture
from odd_jpegs import jpeg, progressive
from PIL import ExifTags, Image, ImageOps

from vaebench.base.values import from_dict
from vaebench.data.archive.decoding import Memory, decode, examine
from vaebench.data.archive.image_file import ImageError, Reading

KINDS = ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF"]


def read_with(changes):
    """How images are read, with other settings."""
    return from_dict(Reading, DECODING | changes)


def test_damage_inside_other_formats_is_found():
    png = bytearray(encoded(picture(0, 60, 60), "PNG"))
    png[len(png) // 2] ^= 1
    with pytest.raises(ImageError):
        decode(bytes(png), 3, READING)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"subsampling": 0},
        {"subsampling": 1},
        {"progressive": True},
        {"quality": 30, "optimize": True},
        {"restart_marker_blocks": 3},
        {"keep_rgb": True},
    ],
)
@pytest.mark.parametrize("size", [(178, 218), (33, 47), (1, 1), (16, 8)])
def test_pixels_are_those_of_pillow(options, size):
    data = encoded(picture(3, *size), **options)
    for channels, mode in ((3, "RGB"), (1, "L")):
        header, pixels = decode(data, channels, READING, Memory())
        expected = np.asarray(Image.open(io.BytesIO(data)).convert(mode))
        assert np.array_equal(pixels, expected.reshape(*size[::-1], channels))
        assert (header.format, header.mode, header.width, header.height) == ("JPEG", "RGB", *size)
        assert examine(data, READING, Memory()) == header


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA", "LA", "1"])
def test_other_modes_are_converted_as_pillow_does(mode):
    image = picture(3, 40, 30).convert(mode)
    data = encoded(image, "JPEG" if mode in ("L", "CMYK") else "PNG")
    for channels, target in ((3, "RGB"), (1, "L")):
        header, pixels = decode(data, channels, READING)
        expected = np.asarray(Image.open(io.BytesIO(data)).convert(target))
        assert np.array_equal(pixels, expected.reshape(30, 40, channels))
        assert header.mode == mode


def damaged(data, rng):
    """The file with one random fault, most of them behind its header: a flipped bit, or bytes cut, lost or put in."""
    place, count = int(rng.integers(2, len(data))), int(rng.integers(1, 40))
    kind = rng.integers(4)
    if kind == 0:
        return data[:place] + bytes([data[place] ^ 1 << int(rng.integers(8))]) + data[place + 1 :]
    if kind == 1:
        return data[:place]
    return data[:place] + (data[place + count :] if kind == 2 else rng.bytes(count) + data[place:])


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True}, {"restart_marker_blocks": 3}])
def test_the_validation_sees_every_fault_that_decoding_to_colour_sees(options):
    rng, found = np.random.default_rng(1), []
    data = encoded(picture(3), **options)
    for _ in range(1500):
        file, answers = damaged(data, rng), []
        for function in (lambda file: decode(file, 3, READING)[0], lambda file: examine(file, READING)):
            try:
                answers.append(function(file))
            except ImageError as error:
                answers.append(str(error))
        assert answers[0] == answers[1]
        found.append(isinstance(answers[0], str))
    assert 0.2 < np.mean(found) < 0.999


def test_memory_is_reused_and_grows():
    memory = Memory()
    for seed, size in enumerate([(20, 30), (178, 218), (20, 30)]):
        data = encoded(picture(seed, *size))
        _, pixels = decode(data, 3, READING, memory)
        assert np.array_equal(pixels, np.asarray(Image.open(io.BytesIO(data))))
    assert memory.of(1) is memory.of(178 * 218 * 3)


def reason_of(data, **changes):
    """Status and reason that the validation gives; decoding must give the same."""
    reading, errors = read_with(changes), []
    for function in (
        lambda: examine(data, reading),
        lambda: decode(data, 3, reading),
        lambda: decode(data, 1, reading),
    ):
        with pytest.raises(ImageError) as error:
            function()
        errors.append((error.value.status, str(error.value)))
    assert len({status for status, _ in errors}) == 1, errors
    return errors[0]


def check_equal_to_pillow(data, mode="RGB"):
    for channels, target in ((3, "RGB"), (1, "L")):
        header, pixels = decode(data, channels, READING, Memory())
        image = Image.open(io.BytesIO(data))
        assert np.array_equal(pixels, np.asarray(image.convert(target)).reshape(*image.size[::-1], channels))
        assert (header.mode, header.width, header.height) == (mode, *image.size)
        assert examine(data, READING, Memory()) == header


COLOUR_FACTORS = [
    *([(h, v), (1, 1), (1, 1)] for h in range(1, 5) for v in range(1, 5) if h * v + 2 <= 10),
    [(2, 2), (2, 1), (1, 2)],
    [(1, 1), (2, 1), (2, 1)],
    [(1, 2), (1, 1), (1, 2)],
    [(3, 2), (1, 2), (1, 1)],
    [(3, 1), (3, 1), (3, 1)],
]


@pytest.mark.parametrize("factors", COLOUR_FACTORS)
@pytest.mark.parametrize("size", [(50, 40), (33, 65), (1, 1)])
def test_every_sampling_of_colours_is_read(factors, size):
    check_equal_to_pillow(jpeg(factors, *size))


@pytest.mark.parametrize("factors", [[(1, 1)] * 4, [(2, 2), (1, 1), (1, 1), (2, 2)], [(1, 1), (2, 1), (2, 1), (1, 1)]])
def test_every_sampling_of_printing_colours_is_read(factors):
    check_equal_to_pillow(jpeg(factors), "CMYK")


def test_one_component_is_grey_whatever_its_factors():
    for factors in ([(1, 1)], [(2, 2)], [(4, 1)]):
        check_equal_to_pillow(jpeg(factors), "L")


@pytest.mark.parametrize(
    "factors", [[(1, 4), (1, 1), (1, 1)], [(3, 2), (1, 1), (1, 1)], [(2, 2), (1, 1), (1, 1), (2, 2)]]
)
def test_rare_samplings_cut_short_are_damaged(factors):
    data = jpeg(factors)
    for length in (3, 20, 100, len(data) // 2, len(data) - 10):
        status, reason = reason_of(data[:length])
        assert status == "damaged", reason


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_what_libjpeg_complains_about_is_damage_whatever_the_colours(mode):
    data = encoded(picture(1).convert(mode))
    half = len(data) // 2
    with pytest.raises(ImageError, match="damaged JPEG"):
        examine(data[:half] + bytes(half), READING)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (jpeg([(1, 1)] * 3, precision=12), "12"),
        (jpeg([(3, 1), (1, 1), (1, 1)], precision=12), "12-bit"),
        (jpeg([(1, 1)] * 3, precision=16), "16-bit"),
        (jpeg([(1, 1)] * 2), "2-layer"),
        (jpeg([(1, 1)] * 5), "5-layer"),
    ],
)
def test_kinds_of_jpeg_that_no_decoder_here_reads_are_not_called_damaged(data, words):
    status, reason = reason_of(data)
    assert status == "unsupported"
    assert words in reason


def with_segment(data, marker, content):
    """The JPEG with one more segment at its beginning."""
    return data[:2] + struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content + data[2:]


SOUND = encoded(picture(2, 40, 30))
FOUR_COMPONENTS = encoded(picture(2, 40, 30).convert("CMYK"))


@pytest.mark.parametrize(
    "data",
    [
        with_segment(SOUND, 0xE2, b"ICC_PROFILE\0\1\2" + bytes(200)),  # the second part is missing
        with_segment(SOUND, 0xE2, b"ICC_PROFILE\0\0\0"),
        SOUND.replace(b"JFIF\0\1\1", b"JFIF\0\2\0"),
        SOUND.replace(b"\3\x11\0\x3f\0", b"\3\x11\0\0\0"),  # what a scan says of its coefficients
        encoded(picture(2, 40, 30).convert("L")).replace(b"\1\1\0\0\x3f\0", b"\1\1\0\0\0\0"),
        with_segment(FOUR_COMPONENTS, 0xE2, b"ICC_PROFILE\0\1\2" + bytes(200)),
    ],
)
def test_what_is_wrong_beside_the_pixels_is_no_damage_and_hides_none(data):
    _, pixels = decode(data, 3, READING)
    assert np.array_equal(pixels, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    assert examine(data, READING) == decode(data, 3, READING)[0]
    status, reason = reason_of(data[: len(data) * 3 // 4])
    assert (status, reason) == ("damaged", "damaged JPEG: Premature end of JPEG file")


def oriented(orientation, kind="JPEG", mode="RGB", size=(31, 22), **options):
    """A file whose EXIF block says how it is to be turned."""
    image = picture(5, *size).convert(mode)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return encoded(image, kind, exif=exif, **options)


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize(
    ("kind", "mode"), [("JPEG", "RGB"), ("JPEG", "L"), ("PNG", "RGB"), ("WEBP", "RGB"), ("TIFF", "L")]
)
def test_images_are_turned_as_their_exif_block_says(orientation, kind, mode):
    data = oriented(orientation, kind, mode)
    image = Image.open(io.BytesIO(data))
    as_stored = image.convert("RGB")
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    header, pixels = decode(data, 3, READING)
    assert np.array_equal(pixels, np.asarray(expected))
    assert (header.width, header.height) == expected.size
    assert examine(data, READING) == header
    stored = read_with({"exif_orientation": False})
    header, pixels = decode(data, 3, stored)
    assert np.array_equal(pixels, np.asarray(as_stored))
    assert (header.width, header.height) == as_stored.size
    assert examine(data, stored) == header


def test_an_orientation_that_only_the_xmp_block_gives():
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    data = encoded(picture(5, 31, 22), xmp=xmp)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert expected.size == (22, 31)
    assert np.array_equal(decode(data, 3, READING)[1], np.asarray(expected))


def test_a_damaged_exif_block_turns_nothing():
    data = oriented(6)
    start = data.index(b"Exif\0\0") + 6
    stored = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    for damaged_block in (b"\xff" * 8, b"MM\0*\xff\xff\xff\xff", b"II*\0\x08\0\0\0"):
        file = data[:start] + damaged_block + data[start + 8 :]
        header, pixels = decode(file, 3, READING)
        assert pixels.shape in (stored.shape, stored.transpose(1, 0, 2).shape)
        assert examine(file, READING) == header
    assert np.array_equal(decode(data[:start] + b"\xff" * 8 + data[start + 8 :], 3, READING)[1], stored)


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0), (10, 200, 77)])
@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA"])
def test_transparent_images_are_composited_on_the_background(mode, background):
    size = (700, 600)  # more than one strip
    opacity = Image.fromarray(np.random.default_rng(0).integers(0, 256, size[::-1], dtype=np.uint8))
    image = picture(6, *size).convert({"LA": "L", "RGBA": "RGB", "PA": "P"}[mode])
    if mode == "PA":
        image.info["transparency"] = bytes(range(256))
        data = encoded(image, "PNG", transparency=bytes(range(256)))
    else:
        image.putalpha(opacity)
        data = encoded(image, "PNG")
    _, pixels = decode(data, 3, read_with({"background": background}))
    rgba = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA")).astype(float)
    share = rgba[..., 3:] / 255
    assert abs(pixels - (rgba[..., :3] * share + np.array(background) * (1 - share))).max() <= 1
    whole = Image.alpha_composite(Image.new("RGBA", size, background), Image.open(io.BytesIO(data)).convert("RGBA"))
    assert np.array_equal(pixels, np.asarray(whole.convert("RGB")))
    _, grey = decode(data, 1, read_with({"background": background}))
    assert np.array_equal(grey[..., 0], np.asarray(whole.convert("L")))


@pytest.mark.parametrize(("mode", "key"), [("RGB", (9, 8, 7)), ("L", 9), ("1", 1)])
def test_a_transparent_colour_is_composited_too(mode, key):
    image = Image.new(mode, (3, 2), key)
    image.putpixel((0, 0), 0)
    _, pixels = decode(encoded(image, "PNG", transparency=key), 3, read_with({"background": (1, 2, 3)}))
    assert pixels[0, 0].tolist() == [0, 0, 0]
    assert pixels[1, 2].tolist() == [1, 2, 3]


WIDE = np.random.default_rng(0).integers(0, 65536, (20, 30, 3), dtype=np.uint16)


def png_of(values, depth=16, key=None):
    """A PNG of grey (2 axes) or colours of any depth, and a transparent one of them, which Pillow does not write."""
    bits = np.unpackbits(values.astype(">u2").view(np.uint8).reshape(*values.shape, 2), axis=-1)[..., -depth:]
    rows = b"".join(b"\0" + np.packbits(row.ravel()).tobytes() for row in bits)
    colour = 0 if values.ndim == 2 else 2
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], depth, colour, 0, 0, 0)
    transparent = [] if key is None else [(b"tRNS", np.array(key, ">u2").tobytes())]
    chunks = [(b"IHDR", header), *transparent, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_transparent_grey_is_that_of_the_files_depth(depth):
    """Which optimisers of PNGs write: a 3 of 4 bits is a 51 of 8."""
    values = np.random.default_rng(0).integers(0, 2**depth, (9, 7))
    key = int(values[values > 0].min())
    _, pixels = decode(png_of(values, depth, key), 3, read_with({"background": (1, 2, 3)}))
    opaque = values >> 8 if depth == 16 else values * 255 // (2**depth - 1)
    expected = np.where((values == key)[..., None], [1, 2, 3], opaque[..., None])
    assert np.array_equal(pixels, expected)


def test_of_16_bits_the_upper_8_are_taken_in_grey_and_in_colour():
    grey = np.repeat(WIDE[..., :1], 3, axis=2)
    for kind in ("PNG", "TIFF", "JPEG2000"):
        _, pixels = decode(encoded(Image.fromarray(WIDE[..., 0]), kind), 3, READING)
        assert np.array_equal(pixels, grey >> 8), kind
    assert np.array_equal(decode(png_of(WIDE), 3, READING)[1], WIDE >> 8)
    assert np.array_equal(decode(png_of(grey), 3, READING)[1], grey >> 8)


@pytest.mark.parametrize("most", [65535, 1000])
def test_pnm_files_are_scaled_alike_in_grey_and_in_colour(most):
    values = (WIDE.astype(int) % (most + 1)).astype(">u2")
    in_grey = decode(b"P5 30 20 %d\n" % most + values[..., 0].tobytes(), 3, READING)[1]
    in_colour = decode(b"P6 30 20 %d\n" % most + np.repeat(values[..., :1], 3, axis=2).tobytes(), 3, READING)[1]
    assert abs(in_grey - values[..., :1] / most * 255).max() <= 0.51
    assert np.array_equal(in_grey, in_colour)


TOGETHER, APART, SIGNED = {284: (1,)}, {284: (2,)}, {339: (2,)}  # tags of a TIFF: PlanarConfiguration, SampleFormat


def tiff(values, tags, extra=False, deflated=False):
    """A TIFF of (height, width, channels) numbers, of which the last channel is alpha if `extra`, in one strip each."""
    height, width, channels = values.shape
    apart = tags.get(284) == (2,)
    planes = [values[..., channel] for channel in range(channels)] if apart else [values]
    strips = [plane.astype(plane.dtype.newbyteorder("<")).tobytes() for plane in planes]
    strips = [zlib.compress(strip) for strip in strips] if deflated else strips
    starts = [8 + sum(map(len, strips[:row])) for row in range(len(strips))]
    tags = {
        **{256: (width,), 257: (height,), 258: (8 * values.itemsize,) * channels, 259: (8 if deflated else 1,)},
        **{262: (2 if channels > 2 else 1,), 273: starts, 277: (channels,), 278: (height,), 279: [*map(len, strips)]},
        **({338: (2,)} if extra else {}),
        **tags,
    }
    place = 8 + sum(map(len, strips)) + 2 + 12 * len(tags) + 4
    entries, beyond = b"", b""
    for tag, numbers in sorted(tags.items()):
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        entries += struct.pack("<HHI", tag, 4, len(numbers))
        entries += packed if len(numbers) == 1 else struct.pack("<I", place + len(beyond))
        beyond += packed if len(numbers) > 1 else b""
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + sum(map(len, strips))) + b"".join(strips) + directory + beyond


@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("tags", [TOGETHER, APART])
def test_channels_of_a_tiff_may_lie_apart(tags, deflated):
    eight = WIDE.astype(np.uint8)
    assert np.array_equal(decode(tiff(eight, tags, deflated=deflated), 3, READING)[1], eight)
    if deflated or tags is TOGETHER:
        assert np.array_equal(decode(tiff(WIDE, tags, deflated=deflated), 3, READING)[1], WIDE >> 8)


RGB_TAG = struct.pack("<HHIB", 262, 3, 1, 2)  # PhotometricInterpretation of a TIFF file
WHITE_IS_ZERO, BLACK_IS_ZERO = (RGB_TAG[:-1] + bytes([value]) for value in (0, 1))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (encoded(Image.fromarray(WIDE[..., 0].astype(np.float32)), "TIFF"), "mode F"),
        (encoded(Image.fromarray(WIDE[..., 0].astype(np.int32)), "TIFF"), "mode I "),
        (encoded(picture(1, 9, 9).convert("LAB"), "TIFF"), "mode LAB"),
        (encoded(picture(1, 9, 9), "EPS"), "EPS"),
        (b"%PDF-1.4\n", "PDF"),
        (png_of(WIDE, key=WIDE[0, 0]), "16 bits with a transparent colour"),
        (encoded(Image.fromarray(WIDE[..., 0]), "TIFF").replace(BLACK_IS_ZERO, WHITE_IS_ZERO), "white is 0"),
        (tiff(WIDE, APART), "16 bits whose channels lie apart"),
        (tiff(WIDE[..., :2].astype(np.uint8), APART, extra=True, deflated=True), "grey whose channels lie apart"),
        (tiff(WIDE[..., :1].astype(np.uint8), SIGNED), "signed numbers"),
        (tiff(WIDE[..., :1], {258: (12,)}), "12 bits"),
        (tiff(WIDE.astype(np.uint8), {**TOGETHER, 259: (34712,)}), "compression 34712"),
        (b"\0\0\0\x18ftypheic" + bytes(100), "HEIF"),
        (encoded(picture(1, 9, 9), "TIFF").replace(RGB_TAG, RGB_TAG[:-1] + b"\x63"), "pixel mode"),
    ],
)
def test_kinds_of_image_that_are_not_read_are_not_called_damaged(data, words):
    status, reason = reason_of(data)
    assert status == "unsupported"
    assert words in reason


def test_no_other_program_is_started(tmp_path, monkeypatch):
    """Pillow would have Ghostscript draw an EPS file, whatever its name ends in."""
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert reason_of(encoded(picture(1, 9, 9), "EPS"))[0] == "unsupported"
    assert not (tmp_path / "started").exists()


def test_avif_is_read():
    data = encoded(picture(3, 40, 30), "AVIF")
    assert np.array_equal(decode(data, 3, READING)[1], np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    assert reason_of(data[:60])[0] == "damaged"


@pytest.mark.parametrize("kind", KINDS)
def test_one_limit_of_pixels_for_all_formats(kind):
    data = encoded(picture(3, 40, 30), kind)
    assert reason_of(data, max_pixels=1199)[0] == "large"
    most = 1200 if kind != "JPEG2000" else 1412  # of which a pixel takes more memory
    examine(data, read_with({"max_pixels": most}))
    assert examine(oriented(6, kind="JPEG", size=(40, 30)), read_with({"max_pixels": 1200})).width == 30


def test_a_jpeg_of_very_many_scans_is_not_decoded():
    """Each takes as long as a whole image, however few bytes it has: 2,000 took a minute."""
    decode(progressive(100), 3, READING)
    status, reason = reason_of(progressive(101))
    assert status == "unsupported"
    assert "101 scans" in reason


def test_what_looks_like_a_scan_and_is_none_does_not_count():
    """In the small picture of a camera's block, whose end is none of the file's, and in a film behind the image."""
    many = b"\xff\xda\0\2" * 200
    data = progressive(3, before=many + b"\xff\xd9", behind=many)
    assert np.array_equal(decode(data, 1, READING)[1], decode(progressive(3), 1, READING)[1])
    assert "101 scans" in reason_of(progressive(101, before=b"\xff\xd9"))[1]


def tiled(size, tile):
    """A TIFF of one deflated grey tile."""
    packed = zlib.compress(bytes(tile * tile))
    tags = {256: size, 257: size, 258: 8, 259: 8, 262: 1, 277: 1, 322: tile, 323: tile, 324: 0, 325: len(packed)}
    tags[324] = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + packed


def test_a_tile_larger_than_its_image_counts_too():
    """A file of 1.5 MB took 1.6 GB for 10 x 10 pixels."""
    assert examine(tiled(100, 112), read_with({"max_pixels": 112 * 112})).width == 100
    assert reason_of(tiled(100, 112), max_pixels=112 * 112 - 1)[0] == "large"


def test_a_long_text_or_profile_in_a_png_is_no_damage():
    buffer = io.BytesIO()
    picture(1, 9, 9).save(buffer, "PNG", icc_profile=bytes(2_000_000))
    assert reason_of(buffer.getvalue())[0] == "unsupported"


def test_a_bitmap_without_its_file_header_is_read():
    data = encoded(picture(1, 9, 7), "DIB")
    assert np.array_equal(decode(data, 3, READING)[1], np.asarray(picture(1, 9, 7)))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", [*KINDS, "4:4:1", "CMYK 4:2:0"])
def test_no_other_exception_and_no_warning_comes_of_damage(kind):
    sound = {"4:4:1": jpeg([(1, 4), (1, 1), (1, 1)]), "CMYK 4:2:0": jpeg([(2, 2), (1, 1), (1, 1), (2, 2)])}
    data = sound.get(kind) or encoded(picture(3, 40, 30), kind)
    rng, memory, refused = np.random.default_rng(3), Memory(), 0
    for _ in range(100):
        file, passed = damaged(damaged(data, rng) + b"    ", rng), []
        for function in (lambda file: examine(file, READING, memory), lambda file: decode(file, 3, READING, memory)[0]):
            try:
                function(file)
                passed.append(True)
            except ImageError:
                passed.append(False)
                refused += 1
        assert passed != [True, False], "what the validation passes can be decoded"
    assert refused
